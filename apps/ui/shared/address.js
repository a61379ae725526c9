// The open tab stands in the page's address (#walk), so that a reload, Back, Forward and links lead to it; a link from
// elsewhere may name it as ?tab=walk.
(() => {
  let open = null; // name of the tab that was open when last looked
  let wanted = null; // that which the address asks for, until it is open

  const tabs = () => [...document.querySelectorAll("[role=tab][data-tab-id]")];
  const name = (tab) => tab.dataset.tabId;
  // gradio's base element would drop the query from a fragment alone.
  const address = () => `${location.pathname}${location.search}#${open}`;

  function follow() {
    const asked = location.hash.slice(1) || new URLSearchParams(location.search).get("tab");
    const tab = asked ? tabs().find((each) => name(each) === asked) : tabs()[0];
    if (!tab || name(tab) === open) return;
    wanted = name(tab);
    tab.click();
  }

  function scan() {
    const selected = tabs().find((tab) => tab.getAttribute("aria-selected") === "true");
    if (!selected) return;
    if (open === null) {
      open = name(selected);
      follow();
    } else if (name(selected) !== open) {
      open = name(selected);
      if (open !== wanted) history.pushState(null, "", address());
      wanted = null;
    } else if (wanted === null && !location.hash && selected !== tabs()[0]) {
      history.replaceState(null, "", address()); // gradio's help takes the fragment away
    }
  }

  // A button may open another tab. gradio gives a tab's fields the server's values once more a frame after it is first
  // shown: what is to stay there comes later.
  document.addEventListener("click", ({ target }) => {
    const wanted = target.closest("button[data-tab]")?.dataset.tab;
    tabs().find((tab) => name(tab) === wanted)?.click();
  });
  window.vfTabOpened = () => new Promise((done) => {
    const frames = (left) => (left ? requestAnimationFrame(() => frames(left - 1)) : done());
    frames(5);
  });

  window.addEventListener("popstate", follow);
  new MutationObserver(scan).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["aria-selected"] });
})();
