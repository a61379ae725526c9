// Enlarge: the comparison is a window onto the photo, which a drag or the arrow keys move; the line stays in it.
(() => {
  const STEP = 40; // pixels that an arrow key moves
  let view = {}; // of the photo shown: the point in the middle of the window, and whether all of it is shown
  let drag = null;

  const numbers = (text) => text.split(",").map(Number);
  const middle = (at, size, room) => (size <= room ? size / 2 : Math.min(size - room / 2, Math.max(room / 2, at)));

  function draw(figure) {
    const { photo, size, start } = figure.dataset;
    if (view.photo !== photo) view = { photo, at: numbers(start), whole: false };
    const frame = figure.querySelector(".vf-stack");
    const [width, height] = numbers(size);
    const zoom = view.whole ? Math.min(1, frame.clientWidth / width, frame.clientHeight / height) : 1;
    view.zoom = zoom;
    view.at = [middle(view.at[0], width, frame.clientWidth / zoom), middle(view.at[1], height, frame.clientHeight / zoom)];
    const place = {
      "--zoom": zoom,
      "--x": `${Math.round(frame.clientWidth / 2 - view.at[0] * zoom)}px`,
      "--y": `${Math.round(frame.clientHeight / 2 - view.at[1] * zoom)}px`,
    };
    figure.querySelector(".vf-whole").checked = view.whole;
    frame.style.touchAction = height * zoom > frame.clientHeight ? "none" : "pan-y"; // else a finger could not leave it
    for (const [name, value] of Object.entries(place)) {
      if (figure.style.getPropertyValue(name) !== String(value)) figure.style.setProperty(name, value);
    }
  }

  function move(figure, right, down) {
    view.at = [view.at[0] - right / view.zoom, view.at[1] - down / view.zoom];
    draw(figure);
  }

  document.addEventListener("pointerdown", ({ target, clientX, clientY, pointerId, button }) => {
    const frame = target.closest?.(".vf-enlarged .vf-stack");
    if (!frame || button || target.matches(".vf-wipe")) return;
    frame.setPointerCapture(pointerId);
    drag = { figure: frame.closest("figure"), pointerId, x: clientX, y: clientY };
  });
  document.addEventListener("pointermove", ({ pointerId, clientX, clientY }) => {
    if (drag?.pointerId !== pointerId) return;
    move(drag.figure, clientX - drag.x, clientY - drag.y);
    [drag.x, drag.y] = [clientX, clientY];
  });
  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, ({ pointerId }) => drag?.pointerId === pointerId && (drag = null));
  }

  document.addEventListener("keydown", (event) => {
    if (!event.target.matches?.(".vf-enlarged .vf-stack")) return;
    const way = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
    if (!way) return;
    event.preventDefault();
    move(event.target.closest("figure"), ...way);
  });

  document.addEventListener("change", ({ target }) => {
    if (!target.matches(".vf-whole")) return;
    view.whole = target.checked;
    draw(target.closest("figure"));
  });

  const scan = () => document.querySelectorAll(".vf-enlarged").forEach((figure) => figure.offsetParent && draw(figure));
  window.addEventListener("resize", scan);
  new MutationObserver(scan).observe(document.documentElement, { childList: true, subtree: true });
})();
