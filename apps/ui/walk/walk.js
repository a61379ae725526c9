// One stage per walk: every step is loaded beforehand, so the slider only paints. Each step is a film strip, its
// frames side by side in one picture; the stage, the thumbnails and the pictures beside show the same frame.
(() => {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const players = new WeakMap(); // section → what drives it; gradio changes sections in place

  async function film(canvas) {
    const image = new Image();
    image.src = canvas.dataset.src;
    await image.decode();
    const frames = Number(canvas.dataset.frames);
    return { image, frames, width: image.naturalWidth / frames, height: image.naturalHeight };
  }

  function paint(canvas, { image, frames, width, height }, frame) {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(image, -width * Math.min(frame, frames - 1), 0);
  }

  function mark(button, on, what) {
    button.classList.toggle("vf-on", on);
    button.setAttribute("aria-label", `${on ? "Pause" : "Play"} ${what}`);
    if (!button.matches(".vf-loop")) button.querySelector("span").textContent = on ? "Pause" : "Play";
  }

  // The clock of one walk: `walking` moves through the steps there and back, `looping` through a step's frames.
  function player(section, films, beside, signal) {
    const { start, frames, fps } = section.dataset;
    const [count, total, rate] = [films.length, Number(frames), Number(fps)];
    const stage = section.querySelector(".vf-stage canvas");
    const slider = section.querySelector(".vf-seek");
    const now = section.querySelector(".vf-now");
    const thumbs = [...section.querySelectorAll(".vf-step")];
    const walk = section.querySelector(".vf-play");
    const clips = section.querySelector(".vf-loop");
    const pace = total > 1 ? Math.min(1200, Math.max(500, (1000 * total) / rate)) : Math.min(360, Math.max(70, 2600 / count));
    let [step, frame, heading] = [Number(start), total - 1, 1];
    let [walking, looping, walkedAt, loopedAt] = [false, false, 0, 0];

    function show(to) {
      thumbs[step].removeAttribute("aria-current");
      step = Math.min(count - 1, Math.max(0, to));
      thumbs[step].setAttribute("aria-current", "step");
      const label = thumbs[step].getAttribute("aria-label");
      slider.value = step + 1;
      slider.style.setProperty("--at", step / (count - 1 || 1));
      slider.setAttribute("aria-valuetext", label);
      stage.setAttribute("aria-label", label);
      now.textContent = thumbs[step].dataset.at;
      paint(stage, films[step], frame);
    }

    function setFrame(to) {
      frame = to;
      paint(stage, films[step], frame);
      thumbs.forEach((thumb, index) => paint(thumb.firstElementChild, films[index], frame));
      beside.forEach(([canvas, film]) => paint(canvas, film, frame));
    }

    function tick(time) {
      if (signal.aborted || !section.isConnected || !(walking || looping)) return;
      const resting = step === 0 || step === count - 1;
      if (walking && time - walkedAt >= pace * (resting ? 2 : 1)) {
        walkedAt = time;
        if (step + heading < 0 || step + heading >= count) heading = -heading;
        show(step + heading);
      }
      if (looping && time - loopedAt >= (1000 / rate) * (frame === total - 1 ? 3 : 1)) {
        loopedAt = time;
        setFrame((frame + 1) % total);
      }
      requestAnimationFrame(tick);
    }

    function run(nowWalking, nowLooping) {
      const still = !(walking || looping);
      [walking, looping] = [nowWalking, nowLooping];
      mark(walk, walking, "the walk, there and back");
      if (clips) mark(clips, looping, "all clips");
      if (still && (walking || looping)) requestAnimationFrame(tick);
    }

    function toggleClips() {
      run(walking, !looping);
      if (!looping) setFrame(total - 1); // every clip shows where it ends
    }

    function go(to) {
      run(false, looping);
      show(to);
    }

    slider.addEventListener("input", () => go(Number(slider.value) - 1), { signal });
    thumbs.forEach((thumb, index) => thumb.addEventListener("click", () => go(index), { signal }));
    walk.addEventListener("click", () => run(!walking, looping), { signal });
    clips?.addEventListener("click", () => toggleClips(), { signal });
    thumbs.forEach((thumb) => thumb.removeAttribute("aria-current"));
    setFrame(frame);
    show(step);
    run(total === 1 && !calm.matches, total > 1 && !calm.matches); // pictures walk, clips loop
    section.querySelectorAll(":disabled").forEach((control) => (control.disabled = false));
    section.classList.add("vf-ready");
  }

  async function setUp(section) {
    const { key } = section.dataset;
    if (players.get(section)?.key === key) return;
    players.get(section)?.control.abort();
    const control = new AbortController();
    players.set(section, { key, control });
    const beside = [...section.querySelectorAll(".vf-maps canvas")];
    const steps = [...section.querySelectorAll(".vf-step canvas")];
    try {
      const films = await Promise.all([...steps, ...beside].map(film));
      if (control.signal.aborted) return;
      player(section, films.slice(0, steps.length), beside.map((canvas, index) => [canvas, films[steps.length + index]]), control.signal);
    } catch {
      if (control.signal.aborted) return;
      const told = { ariaLive: "polite", textContent: "The images are gone; walk again." };
      Object.assign(section.querySelector(".vf-now"), told);
    }
  }

  // A bar moves the slider of directions below, whose event is answered: of quick clicks the last counts.
  document.addEventListener("click", ({ target }) => {
    const bar = target.closest(".vf-directions button");
    if (!bar) return;
    const slider = document.querySelector("#vf-walk-direction input[type=range]");
    slider.value = bar.dataset.index;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  });

  const scan = () => document.querySelectorAll(".vf-walk").forEach(setUp);

  new MutationObserver(scan).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["data-key"] });
})();
