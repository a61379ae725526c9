// The Lab: the grid of the base space, drawn at any layer or between two of them. A new result sweeps through once.
(() => {
  const known = new WeakMap(); // figure → the data it shows; gradio changes the elements it finds in place

  function setUp(figure) {
    const data = figure.dataset.bend;
    known.set(figure, data);
    const { stages, layers, line, dots, cut } = JSON.parse(data);
    const [lines, points] = figure.querySelectorAll("path");
    const slider = figure.querySelector("input");
    const output = figure.querySelector("output");
    const last = stages.length - 1;
    const count = stages[0].length / 2;

    function at(position) {
      const from = Math.min(Math.floor(position), last);
      const share = position - from;
      const [a, b] = [stages[from], stages[Math.min(from + 1, last)]];
      return a.map((value, i) => {
        const j = i - (i % 2);
        if (a[j] === -1 && a[j + 1] === -1) return share < 0.5 ? -1 : b[i];
        if (b[j] === -1 && b[j + 1] === -1) return share < 0.5 ? a[i] : -1;
        return Math.abs(b[j] - a[j]) > cut ? (share < 0.5 ? a[i] : b[i]) : a[i] + share * (b[i] - a[i]);
      });
    }

    function draw(position) {
      const places = at(position);
      const hidden = (i) => places[2 * i] === -1 && places[2 * i + 1] === -1;
      let path = "";
      for (let i = 0; i < count - dots; i++) {
        if (hidden(i)) continue;
        const [x, y] = [places[2 * i], places[2 * i + 1]];
        const joins = i % line && !hidden(i - 1) && Math.hypot(x - places[2 * i - 2], y - places[2 * i - 1]) < cut;
        path += `${joins ? "L" : "M"}${x.toFixed(0)} ${y.toFixed(0)}`;
      }
      lines.setAttribute("d", path);
      let marks = "";
      for (let i = count - dots; i < count; i++) {
        if (!hidden(i)) marks += `M${places[2 * i].toFixed(0)} ${places[2 * i + 1].toFixed(0)}h.1`;
      }
      points.setAttribute("d", marks);
      if (!slider) return;
      const text = position === 0 ? "base" : `layer ${layers[Math.ceil(position)]} of ${layers[last]}`;
      output.textContent = text;
      slider.setAttribute("aria-valuetext", text);
    }

    draw(last);
    if (!slider) return;
    let sweeping = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    slider.oninput = () => {
      sweeping = false;
      draw(Number(slider.value));
    };
    const began = performance.now();
    const frame = (now) => {
      if (!sweeping || !figure.isConnected || known.get(figure) !== data) return;
      const position = Math.max(0, Math.min(last, (last * (now - began)) / 2500));
      slider.value = position;
      draw(position);
      if (position < last) requestAnimationFrame(frame);
    };
    if (sweeping) requestAnimationFrame(frame);
  }

  const shown = (figure) => known.get(figure) === figure.dataset.bend && figure.querySelector("path[d]");
  const scan = () => document.querySelectorAll(".vf-bend").forEach((figure) => shown(figure) || setUp(figure));
  const watched = { childList: true, subtree: true, attributeFilter: ["data-bend", "d"] };
  new MutationObserver(scan).observe(document.documentElement, watched);
})();
