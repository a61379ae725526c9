// Colourise: the before/after slider (of Enlarge, too), and colour hints by click or by number. gradio patches what it
// draws anew into the elements that are there, so everything listens at the document.
(() => {
  let brush = null; // the colour taken up to paint on the large picture with
  let fallback = false; // a point was removed with the keyboard: where does the focus go if no point is left?

  const send = (box, detail) => {
    const event = box.dataset.colorized === "true" ? "input" : "select"; // input: colour it anew
    box.dispatchEvent(new CustomEvent("vf-payload", { bubbles: true, detail: { ...detail, event } }));
  };

  function add(box, x, y) {
    send(box, { action: "add", x, y, color: box.querySelector("input[type=color]").value });
  }

  // The swatch of the chosen colour is marked; none is, where the colour is another.
  function mark(box) {
    const color = box.querySelector("input[type=color]").value;
    for (const swatch of box.querySelectorAll(".vf-swatch")) swatch.setAttribute("aria-pressed", swatch.dataset.color === color);
  }

  document.addEventListener("input", ({ target }) => {
    if (target.matches(".vf-hints input[type=color]")) mark(target.closest(".vf-hints"));
    if (target.matches(".vf-wipe")) wipe(target);
  });

  // The line of a figure stands where its slider does.
  function wipe(slider) {
    const at = `${slider.value}%`;
    const { style } = slider.closest(".vf-compare");
    if (style.getPropertyValue("--vf-at") === at) return;
    style.setProperty("--vf-at", at);
    slider.setAttribute("aria-valuetext", `${at} before`);
  }

  function hold() {
    for (const figure of document.querySelectorAll("#vf-compare .vf-compare")) {
      figure.classList.toggle("vf-painting", brush !== null);
      for (const button of figure.querySelectorAll(".vf-brush")) button.setAttribute("aria-pressed", button.dataset.color === brush);
    }
  }

  // On the large picture: the same points as in the box of hints, which sends them.
  document.addEventListener("click", (event) => {
    if (event.target.closest("[role=tab]")) {
      brush = null;
      hold();
    }
    const figure = event.target.closest("#vf-compare .vf-compare");
    const box = document.querySelector("#vf-editor .vf-hints");
    if (!figure || !box) return;
    const taken = event.target.closest(".vf-brush");
    const stack = event.target.closest(".vf-stack");
    if (taken) {
      brush = brush === taken.dataset.color ? null : taken.dataset.color;
      hold();
    }
    if (stack && brush) {
      const frame = stack.getBoundingClientRect();
      box.querySelector("input[type=color]").value = brush;
      add(box, (event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height);
    }
    if (event.target.closest(".vf-undo-point")) send(box, { action: "undo" });
    if (event.target.closest(".vf-clear-points")) send(box, { action: "clear" });
  });

  document.addEventListener("click", (event) => {
    const box = event.target.closest(".vf-hints");
    if (!box) return;
    const photo = event.target.closest(".vf-target");
    const swatch = event.target.closest(".vf-swatch");
    const removed = event.target.closest(".vf-remove-point");
    if (photo) {
      const frame = photo.getBoundingClientRect();
      add(box, (event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height);
    }
    if (swatch) {
      box.querySelector("input[type=color]").value = swatch.dataset.color;
      mark(box);
    }
    if (event.target.closest(".vf-undo-point")) {
      fallback = true;
      send(box, { action: "undo" });
    }
    if (event.target.closest(".vf-clear-points")) {
      fallback = true;
      send(box, { action: "clear" });
    }
    if (event.target.closest(".vf-add-point")) {
      const [x, y] = [".vf-x", ".vf-y"].map((name) => Math.min(100, Math.max(0, Number(box.querySelector(name).value))));
      add(box, x / 100, y / 100);
    }
    if (removed) {
      fallback = true;
      send(box, { action: "remove", hint: removed.dataset.hint });
    }
  });

  new MutationObserver(() => {
    hold();
    document.querySelectorAll(".vf-wipe").forEach(wipe);
    if (!fallback || document.activeElement !== document.body) return;
    fallback = false;
    const buttons = [...document.querySelectorAll(".vf-remove-point, .vf-add-point")];
    buttons.at(-1)?.focus({ preventScroll: true });
  }).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["class", "style"] });
})();
