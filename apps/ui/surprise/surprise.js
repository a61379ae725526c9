// One clip at a time: the slider, the curve's line and the row of frames show the same frame; the two large
// pictures are taken from that row.
(() => {
  const known = new WeakMap(); // section → what drives it; gradio changes sections in place

  function drive(section, signal) {
    const shots = [...section.querySelectorAll(".vf-shot")];
    const [frame, below, overlay] = section.querySelectorAll(".vf-pair img");
    const slider = section.querySelector(".vf-seek");
    const now = section.querySelector(".vf-now");
    const button = section.querySelector(".vf-play");
    const cursor = section.querySelector(".vf-cursor");
    const strength = section.querySelector(".vf-strength input");
    let at = Number(section.dataset.start);
    let playing = false;
    let shownAt = 0;

    function show(to) {
      shots[at].removeAttribute("aria-current");
      at = to;
      const shot = shots[at];
      const [picture, map] = shot.querySelectorAll("img");
      shot.setAttribute("aria-current", "true");
      frame.src = below.src = picture.src;
      overlay.src = map.src;
      frame.alt = `Frame ${at + 1}`;
      overlay.alt = `Map of frame ${at + 1}`;
      slider.value = at + 1;
      slider.setAttribute("aria-valuetext", shot.getAttribute("aria-label"));
      now.textContent = `${at + 1}/${shots.length} · ${shot.dataset.at}`;
      const share = shots.length > 1 ? at / (shots.length - 1) : 0;
      cursor.setAttribute("transform", `translate(${share * Number(cursor.dataset.reach)} 0)`);
    }

    function tick(time) {
      if (!playing || signal.aborted || !section.isConnected) return;
      if (time - shownAt >= 1000 / Number(section.dataset.fps)) {
        shownAt = time;
        show((at + 1) % shots.length);
      }
      requestAnimationFrame(tick);
    }

    function run(on) {
      if (on && !playing) requestAnimationFrame(tick);
      playing = on;
      button.classList.toggle("vf-on", on);
      button.setAttribute("aria-label", `${on ? "Pause" : "Play"} the clip`);
      button.querySelector("span").textContent = on ? "Pause" : "Play";
    }

    function go(to) {
      run(false);
      show(to);
    }

    shots.forEach((shot, index) => shot.addEventListener("click", () => go(index), { signal }));
    slider.addEventListener("input", () => go(Number(slider.value) - 1), { signal });
    button.addEventListener("click", () => run(!playing), { signal });
    strength.addEventListener("input", () => section.style.setProperty("--strength", strength.value / 100), { signal });
    section.style.setProperty("--strength", strength.value / 100);
    shots.forEach((shot) => shot.removeAttribute("aria-current"));
    run(false);
    show(at);
    section.classList.add("vf-ready");
  }

  function setUp(section) {
    const { key } = section.dataset;
    if (known.get(section)?.key === key) return;
    known.get(section)?.control.abort();
    const control = new AbortController();
    known.set(section, { key, control });
    drive(section, control.signal);
  }

  const scan = () => document.querySelectorAll(".vf-surprise").forEach(setUp);
  new MutationObserver(scan).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["data-key"] });
})();
