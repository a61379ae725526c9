// Drawing pads: pointer, finger or keys. Once the pen has been up for a while a pad sends its component the ink, of a
// change to what it has sent the event `input`, and of Clear the event of that name.
(() => {
  const known = new WeakSet();
  const SIDE = 112; // of the ink that is sent: one byte per pixel, 255 where the pen has been
  const STEP = 6;
  const PAUSE = 800; // milliseconds with the pen up: a digit of two strokes is not half read
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function setUp(pad) {
    if (known.has(pad)) return;
    known.add(pad);
    const canvas = pad.querySelector("canvas");
    const mark = pad.querySelector(".vf-pen");
    const context = canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(context, { lineWidth: canvas.width / 12, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
    let pen = { x: canvas.width / 2, y: canvas.height / 4 };
    let down = false; // the pen of the keyboard
    let drawing = null; // the pointer that draws
    let unsent = false;
    let sent = false;
    let waiting = 0;

    function line(to) {
      context.beginPath();
      context.moveTo(pen.x, pen.y);
      context.lineTo(to.x, to.y);
      context.stroke();
      pen = to;
      unsent = true;
      pad.classList.add("vf-inked");
      outdate("drawing");
    }

    const tell = (detail) => pad.dispatchEvent(new CustomEvent("vf-payload", { bubbles: true, detail }));

    function outdate(action) {
      if (sent) tell({ event: "input", action });
      sent = false;
    }

    function send() {
      unsent = false;
      sent = true;
      const small = document.createElement("canvas");
      small.width = small.height = SIDE;
      const view = small.getContext("2d");
      view.drawImage(canvas, 0, 0, SIDE, SIDE);
      const pixels = view.getImageData(0, 0, SIDE, SIDE).data;
      const ink = Array.from({ length: SIDE * SIDE }, (_, i) => String.fromCharCode(pixels[4 * i + 3])).join("");
      tell({ action: "drawn", ink: btoa(ink) });
    }

    function soon() {
      clearTimeout(waiting);
      if (unsent) waiting = setTimeout(send, PAUSE);
    }

    function at(event) {
      const box = canvas.getBoundingClientRect();
      const scale = canvas.width / box.width;
      return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
    }

    function place() {
      mark.style.left = `${(100 * pen.x) / canvas.width}%`;
      mark.style.top = `${(100 * pen.y) / canvas.height}%`;
      pad.classList.toggle("vf-down", down);
    }

    canvas.addEventListener("pointerdown", (event) => {
      if (event.button || drawing !== null) return;
      clearTimeout(waiting);
      canvas.setPointerCapture(event.pointerId);
      pad.classList.remove("vf-keys");
      pen = at(event);
      drawing = event.pointerId;
      down = false;
      line({ x: pen.x + 0.01, y: pen.y });
      event.preventDefault();
      canvas.focus({ preventScroll: true });
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId === drawing) line(at(event));
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"])
      canvas.addEventListener(end, (event) => {
        if (event.pointerId !== drawing) return;
        drawing = null;
        soon();
      });

    canvas.addEventListener("keydown", (event) => {
      const move = MOVES[event.key];
      if (!move && event.key !== " ") return;
      event.preventDefault();
      pad.classList.add("vf-keys");
      if (move) {
        const inside = (value) => Math.min(Math.max(value, 12), canvas.width - 12);
        const to = { x: inside(pen.x + STEP * move[0]), y: inside(pen.y + STEP * move[1]) };
        if (down) {
          line(to);
          soon();
        } else pen = to;
      } else {
        down = !down;
        if (down) line({ x: pen.x + 0.01, y: pen.y });
        else soon();
      }
      place();
    });
    canvas.addEventListener("blur", () => {
      down = false;
      soon();
      pad.classList.remove("vf-keys");
      place();
    });

    pad.querySelector(".vf-clear").addEventListener("click", () => {
      unsent = false;
      clearTimeout(waiting);
      context.clearRect(0, 0, canvas.width, canvas.height);
      pad.classList.remove("vf-inked");
      outdate("cleared");
      tell({ event: "clear", action: "cleared" });
    });
    place();
  }

  const scan = () => document.querySelectorAll(".vf-pad").forEach(setUp);
  new MutationObserver(scan).observe(document.documentElement, { childList: true, subtree: true });
})();
