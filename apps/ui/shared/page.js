// The whole page: where the focus and the view go when gradio draws something anew.
(() => {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  // Lists and results are drawn anew after a click inside them; the keyboard's place goes to the same button's new
  // place, or to the new player, unless the person has gone on by then.
  let wanted = null;
  const order = (strip) => [...strip.querySelectorAll(".vf-name")].map((name) => name.textContent).join("/");

  function want(places, within, drawn) {
    wanted = { places, within, drawn, before: drawn(), from: document.activeElement };
  }

  document.addEventListener("keydown", () => (wanted = null));

  document.addEventListener("click", (event) => {
    wanted = null;
    const button = event.target.closest(".vf-strip button, .vf-continue");
    if (!button) return;
    const strip = button.closest(".vf-strip");
    if (!strip) {
      const panel = button.closest("[role=tabpanel]");
      return want([".vf-play"], panel, () => panel.querySelector(".vf-play"));
    }
    const { action, index } = button.dataset;
    const to = Number(index) + ({ earlier: -1, later: 1 }[action] ?? 0);
    const places = [action, "earlier", "later", "remove"].map(
      (name) => `button[data-action="${name}"][data-index="${to}"]:not(:disabled)`
    );
    want(places, strip, () => order(strip));
  });

  function refocus() {
    const now = wanted?.drawn() ?? null;
    if (now === null || now === wanted.before) return;
    const { places, within, from } = wanted;
    wanted = null;
    if (![from, document.body].includes(document.activeElement)) return;
    places.map((place) => within.querySelector(place)).find(Boolean)?.focus({ preventScroll: true });
  }

  // On a phone the results lie below the form, and one style as all ten digits lies below the grid everywhere: go
  // there once they show something.
  let going = null;
  let there = false; // they show something; as long as they are too short to fill the screen, go on as they grow

  ["wheel", "touchmove", "keydown"].forEach((moved) => document.addEventListener(moved, () => there && (going = null)));

  document.addEventListener("click", ({ target }) => {
    const way = target.closest(".vf-example, .vf-continue, .vf-link, .vf-actions button.primary");
    there = false;
    if (target.closest(".vf-digit")) going = document.querySelector(".vf-restyle");
    else if (way && window.innerWidth <= 768) going = way.closest(".vf-restyle, .vf-arm, [role=tabpanel]");
  });

  function goToResults() {
    there ||= Boolean(going?.querySelector(".vf-live, .vf-progress, .vf-tens img, .vf-arm-target"));
    if (!going || !there) return;
    const line = going.querySelector(".vf-status-line");
    const page = document.documentElement;
    const reached = line.getBoundingClientRect().top <= page.scrollHeight - page.clientHeight - window.scrollY;
    const block = going.matches(".vf-restyle") ? "center" : "start";
    line.scrollIntoView({ block, behavior: calm.matches ? "auto" : "smooth" });
    if (reached || block === "center") going = null;
  }

  document.addEventListener("click", async ({ target }) => {
    if (!target.matches?.(".vf-copy")) return;
    const code = target.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      target.textContent = "Copied";
    } catch {
      window.getSelection().selectAllChildren(code); // no clipboard here, or it is refused: Ctrl+C copies it
    }
  });

  // An area of a photo is taken around the place that is clicked; from the keyboard, around the middle.
  document.addEventListener("click", ({ target, detail, clientX, clientY }) => {
    const pick = target.closest(".vf-area-pick");
    if (!pick) return;
    const frame = pick.getBoundingClientRect();
    const [left, top] = detail ? [(clientX - frame.left) / frame.width, (clientY - frame.top) / frame.height] : [0.5, 0.5];
    pick.dispatchEvent(new CustomEvent("vf-payload", { bubbles: true, detail: { event: "input", action: "area", left, top } }));
  });

  // Arrow keys, Home and End go from tab to tab, as people expect of tabs.
  document.addEventListener("keydown", (event) => {
    const tab = event.target.closest?.("[role=tab]");
    if (!tab || event.altKey || event.ctrlKey || event.metaKey) return;
    const tabs = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]")];
    const at = tabs.indexOf(tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    next.click();
    next.focus();
  });

  function scan() {
    // The text alone: beside it gradio counts seconds, ten times each.
    const lines = document.querySelectorAll(".html-container .vf-status-line:not([aria-live])");
    lines.forEach((line) => line.setAttribute("aria-live", "polite"));
    const answers = document.querySelectorAll(":is(#vf-area-answer, [id^=vf-][id$=-fit], [id^=vf-][id$=-upload]):not([role])");
    answers.forEach((answer) => answer.setAttribute("role", "status"));
    // Tab would stop at a list that scrolls, but gradio removes the list once its field loses the focus.
    document.querySelectorAll("[role=listbox]:not([tabindex])").forEach((list) => (list.tabIndex = -1));
    refocus();
    goToResults();
  }

  // Texts too: gradio writes a list of equal length into the nodes that are there, so no child comes or goes.
  new MutationObserver(scan).observe(document.documentElement, { childList: true, characterData: true, subtree: true });
})();
