// The film on each tab before any click: it plays while it is seen, unless the person paused it or prefers less motion.
(() => {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const known = new WeakSet();

  function setUp(section) {
    const [video, button] = [section.querySelector("video"), section.querySelector("button")];
    if (known.has(button)) return;
    known.add(button);
    let wanted = !calm.matches;

    function mark() {
      section.classList.toggle("vf-playing", wanted);
      button.setAttribute("aria-label", `${wanted ? "Pause" : "Play"} the example`);
      button.querySelector("span").textContent = wanted ? "Pause" : "Play";
    }

    function update(seen) {
      if (wanted && seen) video.play().catch(() => {}); // the browser may want a click first
      else video.pause();
    }

    button.addEventListener("click", () => {
      wanted = !wanted;
      mark();
      update(true);
    });
    new IntersectionObserver(([entry]) => update(entry.isIntersecting)).observe(video);
    mark();
  }

  const scan = () => document.querySelectorAll(".vf-opening").forEach(setUp);
  new MutationObserver(scan).observe(document.documentElement, { childList: true, subtree: true });
})();
