// One player per grid of futures: all videos share a play/pause button and a frame slider.
(() => {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  const known = new WeakSet();

  function setUp(section) {
    const button = section.querySelector(".vf-play");
    if (known.has(button)) return;
    known.add(button);
    const videos = [...section.querySelectorAll("video")];
    const slider = section.querySelector(".vf-seek");
    const now = section.querySelector(".vf-now");
    const given = Number(section.dataset.given);
    const total = Number(section.dataset.frames);
    const fps = Number(section.dataset.fps);
    const minutes = Number(section.dataset.minutes); // between frames, where they are that far apart
    const leader = videos[0];
    let playing = false;
    let touched = false; // once a person has chosen, nothing starts by itself

    function show(frame) {
      const text = minutes ? clock(frame - given) : frame <= given ? `given ${frame}/${given}` : `predicted ${frame - given}/${total - given}`;
      if (now.textContent !== text) now.textContent = text;
      slider.value = frame;
      slider.setAttribute("aria-valuetext", text);
      section.classList.toggle("vf-at-given", frame <= given);
    }

    function clock(lead) {
      if (!lead) return "now";
      return lead < 0 ? `${-lead * minutes} min ago` : `in ${lead * minutes} min`;
    }

    function mark(state) {
      playing = state;
      section.classList.toggle("vf-playing", playing);
      button.setAttribute("aria-label", button.ariaLabel.replace(/^\w+/, playing ? "Pause" : "Play"));
      button.querySelector("span").textContent = playing ? "Pause" : "Play";
    }

    // Videos that are there already are left alone: one that loops restarts when told to seek to its last
    // frame while it shows it.
    function move(time, tolerance) {
      for (const video of videos) {
        if (Math.abs(video.currentTime - time) > tolerance) video.currentTime = time;
      }
    }

    // Followers drift by a few milliseconds a loop; half a frame is the most that stays unseen.
    function align(tolerance) {
      move(leader.currentTime, tolerance);
    }

    function follow() {
      if (!playing || !section.isConnected) return;
      show(Math.min(total, Math.floor(leader.currentTime * fps + 1e-3) + 1));
      const nearEnd = leader.currentTime < 0.2 || leader.currentTime > leader.duration - 0.2;
      if (!nearEnd) align(0.6 / fps);
      requestAnimationFrame(follow);
    }

    async function play() {
      mark(true);
      align(0);
      try {
        await Promise.all(videos.map((video) => video.play()));
      } catch (error) {
        if (error.name === "NotAllowedError") pause(); // the browser wants a click first
      }
      requestAnimationFrame(follow);
    }

    function pause() {
      mark(false);
      videos.forEach((video) => video.pause());
      align(0);
    }

    function seek(frame) {
      if (playing) pause();
      move((frame - 0.5) / fps, 0.1 / fps);
      show(frame);
    }

    button.addEventListener("click", () => {
      touched = true;
      if (playing) pause();
      else play();
    });
    slider.addEventListener("input", () => {
      touched = true;
      seek(Number(slider.value));
    });
    const loaded = videos.map((video) =>
      video.readyState >= 2 ? null : new Promise((done) => ["loadeddata", "error"].forEach((e) => video.addEventListener(e, done, { once: true })))
    );
    mark(false);
    show(1);
    Promise.all(loaded).then(() => {
      if (touched) return playing || seek(Number(slider.value));
      return calm.matches ? seek(total) : play();
    });
  }

  const scan = () => document.querySelectorAll(".vf-player").forEach(setUp);
  new MutationObserver(scan).observe(document.documentElement, { childList: true, subtree: true });
})();
