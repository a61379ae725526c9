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
    const shares = { "--x": Math.min(x, x2), "--y": Math.min(y, y2), "--w": Math.abs(x2 - x), "--h": Math.abs(y2 - y) };
    for (const [name, share] of Object.entries(shares)) section.style.setProperty(name, `${100 * share}%`);
    section.classList.add("vf-has-area");
  }

  const sides = (section) => section.dataset.size.split(",").map(Number);

  // The whole pixels that a line from one place to another touches, of a side of the picture: the first, and how many.
  function pixels(from, to, side) {
    const first = Math.min(side - 1, Math.max(0, Math.floor(Math.min(from, to))));
    return [first, Math.max(1, Math.min(side, Math.ceil(Math.max(from, to))) - first)];
  }

  // The area between two corners, in pixels.
  function ask(section, x, y, x2, y2) {
    const [across, down] = sides(section);
    const [left, width] = pixels(x, x2, across);
    const [top, height] = pixels(y, y2, down);
    const area = { left, top, width, height };
    mark(section, left / across, top / down, (left + width) / across, (top + height) / down);
    for (const [name, value] of Object.entries(area)) section.querySelector(`.vf-area-${name}`).value = value;
    section.dispatchEvent(new CustomEvent("vf-payload", { bubbles: true, detail: { event: "input", ...area } }));
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
    const [across, down] = sides(section);
    if (Math.abs(x2 - x) * across >= 3 || Math.abs(y2 - y) * down >= 3) ask(section, x * across, y * down, x2 * across, y2 * down);
    else square(section, x, y);
  });

  document.addEventListener("pointercancel", () => (drag = null));

  function square(section, x, y) {
    const [across, down] = sides(section);
    const [left, top] = [Math.round(x * across) - SIDE / 2, Math.round(y * down) - SIDE / 2];
    ask(section, left, top, left + SIDE, top + SIDE);
  }

  document.addEventListener("click", (event) => {
    const map = event.target.closest(".vf-askable .vf-map");
    if (map && event.pointerType === "touch") square(map.closest(".vf-rain"), ...place(map, event));
    const button = event.target.closest(".vf-ask");
    if (!button) return;
    const section = button.closest(".vf-rain");
    const [left, top, width, height] = ["left", "top", "width", "height"].map((name) => Number(section.querySelector(`.vf-area-${name}`).value));
    ask(section, left, top, left + width, top + height);
  });
})();
