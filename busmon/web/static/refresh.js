// Replaces the main part of the page every 30 s. Not while somebody uses it: while something in it
// has the focus, a row is open, or text is selected. The switch is remembered in this browser.
"use strict";

(() => {
  const SECONDS = 30;
  const main = document.querySelector("main[data-refresh]");
  if (!main) return;
  const line = document.getElementById("refresh");
  const box = line.querySelector("input");
  const status = line.querySelector("[role=status]");

  const remembered = () => {
    try { return localStorage.getItem("refresh") !== "off"; } catch { return true; }
  };
  const remember = () => {
    try { localStorage.setItem("refresh", box.checked ? "on" : "off"); } catch { /* not allowed */ }
  };
  const inUse = () => {
    const current = document.getElementById("main");
    const focused = current.contains(document.activeElement) && document.activeElement !== current;
    return focused || current.querySelector("details[open]") || String(getSelection()) !== "";
  };
  const say = (text) => { if (status.textContent !== text) status.textContent = text; };

  const refresh = async () => {
    if (!box.checked || document.hidden || inUse()) return;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (inUse()) return;
      const parts = ["main", "now"].map((id) => page.getElementById(id));
      if (parts.includes(null)) throw new Error("this is another page; load it again");
      for (const part of parts) document.getElementById(part.id).replaceWith(part);
      document.title = page.title;
      document.querySelector("link[rel=icon]").href = page.querySelector("link[rel=icon]").href;
      say("");
    } catch (error) {
      say(`not refreshed: ${error.message}`);
    }
  };

  box.checked = remembered();
  box.addEventListener("change", remember);
  line.hidden = false;
  setInterval(refresh, SECONDS * 1000);
})();
