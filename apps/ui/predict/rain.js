// Forecasts of rain: an area is marked by dragging over a map, by a click (a square of 20 pixels) or by numbers, shows on
// all maps, and is sent to Python, whose answer appears above them.
(() => {
  const SIDE = 20;
  let drag = null; // { section, map, x, y }

  const clamp = (share) => Math.min(1, Math.max(0, share));

  function place(map, { clientX, clientY }) {
    const frame = map.getBoundingClientRect();
    return [clamp((clientX - frame.left) / frame.width), clamp((clientY - frame.top) / frame.height)];
  }

  function mark(section, x, y, x2, y2) {
    const sides = { "--x": Math.min(x, x2), "--y": Math.min(y, y2), "--w": Math.abs(x2 - x), "--h": Math.abs(y2 - y) };
    for (const [name, share] of Object.entries(sides)) section.style.setProperty(name, `${100 * share}%`);
    section.classList.add("vf-has-area");
  }

  function ask(section, x, y, x2, y2) {
    const [width, height] = section.dataset.size.split(",").map(Number);
    mark(section, x, y, x2, y2);
    const fields = { left: Math.min(x, x2) * width, top: Math.min(y, y2) * height, width: Math.abs(x2 - x) * width, height: Math.abs(y2 - y) * height };
    for (const [name, value] of Object.entries(fields)) section.querySelector(`.vf-area-${name}`).value = Math.round(value);
    section.dispatchEvent(new CustomEvent("vf-payload", { bubbles: true, detail: { event: "input", x, y, x2, y2 } }));
  }

  document.addEventListener("pointerdown", (event) => {
    const map = event.target.closest(".vf-askable .vf-map");
    if (!map || event.button || event.pointerType === "touch") return; // a finger scrolls, or taps
    const [x, y] = place(map, event);
    drag = { section: map.closest(".vf-rain"), map, x, y };
    event.preventDefault();
  });

  document.addEventListener("pointermove", (event) => {
    if (drag) mark(drag.section, drag.x, drag.y, ...place(drag.map, event));
  });

  document.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { section, map, x, y } = drag;
    drag = null;
    const [x2, y2] = place(map, event);
    const [width, height] = section.dataset.size.split(",").map(Number);
    if (Math.abs(x2 - x) * width >= 3 || Math.abs(y2 - y) * height >= 3) ask(section, x, y, x2, y2);
    else square(section, x, y);
  });

  document.addEventListener("pointercancel", () => (drag = null));

  function square(section, x, y) {
    const [width, height] = section.dataset.size.split(",").map(Number);
    const [dx, dy] = [SIDE / 2 / width, SIDE / 2 / height];
    ask(section, clamp(x - dx), clamp(y - dy), clamp(x + dx), clamp(y + dy));
  }

  document.addEventListener("click", (event) => {
    const map = event.target.closest(".vf-askable .vf-map");
    if (map && event.pointerType === "touch") square(map.closest(".vf-rain"), ...place(map, event));
    const button = event.target.closest(".vf-ask");
    if (!button) return;
    const section = button.closest(".vf-rain");
    const [width, height] = section.dataset.size.split(",").map(Number);
    const [left, top, wide, high] = ["left", "top", "width", "height"].map((name) => Number(section.querySelector(`.vf-area-${name}`).value));
    ask(section, clamp(left / width), clamp(top / height), clamp((left + wide) / width), clamp((top + high) / height));
  });
})();
