// A future that is clicked fills the window, with files of it alone; arrow keys go on to the next.
(() => {
  let dialog = null;
  let tiles = []; // buttons around the futures' videos
  let at = 0;

  function build() {
    dialog = document.createElement("dialog");
    dialog.className = "vf-large";
    dialog.innerHTML = `<header><h2 aria-live="polite"></h2><a class="vf-small" download>mp4</a>
      <button type="button" class="vf-small" data-gif>GIF</button><button type="button" class="vf-small" data-close>Close</button></header>
      <video muted loop playsinline disablepictureinpicture></video>
      <nav><button type="button" class="vf-small" data-step="-1">← Previous</button>
      <button type="button" class="vf-small" data-step="1">Next →</button></nav>`;
    document.querySelector(".gradio-container").append(dialog);
    dialog.addEventListener("click", ({ target }) => {
      if (target === dialog || target.matches("[data-close]")) dialog.close();
      else if (target.matches("[data-gif]")) tiles[at].dispatchEvent(new CustomEvent("vf-payload", { bubbles: true, detail: { event: "submit", index: at } }));
      else if (target.matches("[data-step]")) show(at + Number(target.dataset.step));
    });
    dialog.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step) show(at + step);
    });
    dialog.addEventListener("close", () => {
      dialog.querySelector("video").removeAttribute("src");
      if (tiles[at].isConnected) tiles[at].focus();
    });
  }

  function show(index) {
    at = (index + tiles.length) % tiles.length;
    const [small, large, link] = [tiles[at].querySelector("video"), dialog.querySelector("video"), dialog.querySelector("a")];
    [large.src, large.poster, large.ariaLabel] = [small.src, small.poster, small.ariaLabel];
    dialog.querySelector("h2").textContent = `Future ${at + 1} of ${tiles.length}`;
    [link.href, link.download] = [small.src, `future_${String(at + 1).padStart(2, "0")}.mp4`];
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) large.controls = true;
    else large.play().catch(() => (large.controls = true)); // the browser wants a click first
  }

  document.addEventListener("click", ({ target }) => {
    const tile = target.closest(".vf-enlarge");
    if (!tile) return;
    if (!dialog) build();
    tiles = [...tile.closest(".vf-grid").querySelectorAll(".vf-enlarge")];
    show(tiles.indexOf(tile));
    dialog.showModal();
  });
})();
