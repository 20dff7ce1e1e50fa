// What pages do beyond the server's HTML: follow what happens, copy commands, choose all. Nothing depends on it.
"use strict";
(() => {
  const main = document.querySelector("main");
  const sign = document.querySelector(".live");

  // Replaces each part marked data-live by the same part of the same page, fetched anew.
  let isLoading = false;
  let isWanted = false;
  const seen = new Map();
  async function refresh() {
    if (isLoading) { isWanted = true; return; }
    isLoading = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Refresh": "1" }, redirect: "error" });
      if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The next event tries again.
    }
    isLoading = false;
    if (isWanted) { isWanted = false; setTimeout(refresh, 300); }
  }
  function show(page) {
    for (const list of document.querySelectorAll("[data-items]")) match(list, page.getElementById(list.id));
    for (const old of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(old.id);
      if (!fresh || fresh.innerHTML === seen.get(old.id)) continue;
      if (isBusy(old)) continue;
      const isFirst = !seen.has(old.id);
      const open = new Set([...old.querySelectorAll("details[open][id]")].map((one) => one.id));
      const known = new Set([...old.querySelectorAll("tr[id], article[id]")].map((one) => one.id));
      const source = fresh.innerHTML;
      old.replaceChildren(...fresh.childNodes);
      seen.set(old.id, source);
      for (const one of old.querySelectorAll("details[id]")) if (open.has(one.id)) one.open = true;
      if (!isFirst) for (const one of old.querySelectorAll("tr[id]")) if (!known.has(one.id)) one.classList.add("fresh");
      dress(old);
    }
  }
  // A list whose items come and go: each that is new is put in its place, each that is gone is taken out.
  function match(list, fresh) {
    if (!fresh) return;
    const wanted = new Set([...fresh.children].map((one) => one.id));
    for (const one of [...list.children]) if (!wanted.has(one.id) && !isBusy(one)) one.remove();
    let before = null;
    for (const one of [...fresh.children]) {
      let here = document.getElementById(one.id);
      if (!here) {
        here = document.importNode(one, true);
        if (before) before.after(here); else list.prepend(here);
        dress(here);
      }
      before = here;
    }
  }
  // A part in which somebody types, chooses or is about to act stays as it is.
  function isBusy(part) {
    const focus = document.activeElement;
    if (part.contains(focus) && focus.matches("input, select, textarea, button, summary")) return true;
    for (const one of part.querySelectorAll("textarea, input:not([type=hidden])")) {
      if (one.type === "checkbox" || one.type === "radio" ? one.checked !== one.defaultChecked : one.value !== one.defaultValue) return true;
    }
    return false;
  }

  if (main.dataset.follow && window.EventSource) {
    const source = new EventSource(main.dataset.follow);
    let timer = 0;
    const soon = () => { clearTimeout(timer); timer = setTimeout(refresh, 120); };
    source.onopen = () => { sign.hidden = false; sign.dataset.on = ""; sign.textContent = "live"; };
    source.onerror = () => { delete sign.dataset.on; sign.textContent = "not connected"; };
    for (const name of (main.dataset.events || "change tick").split(" ")) source.addEventListener(name, soon);
    source.addEventListener("end", () => { source.close(); delete sign.dataset.on; sign.textContent = "over"; soon(); });
    addEventListener("pagehide", () => source.close());
  }

  // What a model is writing now, piece by piece; what it has written whole comes with the journal. A page that nobody sees
  // gives its connection back.
  const writing = document.getElementById("writing");
  if (writing && writing.dataset.stream && window.EventSource) {
    const said = writing.querySelector(".said");
    const by = writing.querySelector(".by span");
    const unseen = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;
    const plain = (text) => text.replace(unseen, (one) => "\\u" + one.codePointAt(0).toString(16).padStart(4, "0"));
    let words = null;
    let after = writing.dataset.after || "";
    const add = (text, tag) => { const one = document.createElement(tag); one.textContent = plain(text); said.append(one); };
    const on = {
      begin: (piece) => { said.replaceChildren(); by.textContent = "in " + plain(piece.skill) + (piece.attempt > 1 ? ", try " + piece.attempt : ""); writing.hidden = false; },
      text: (piece) => { add(piece.text, "span"); writing.hidden = false; },
      thinking: (piece) => { add(piece.text, "i"); writing.hidden = false; },
      tool: (piece) => add("\n\u2192 " + piece.text + "\n", "span"),
      gap: () => add(" \u2026 ", "span"),
      failed: () => add(" (broken off)", "span"),
      end: () => { writing.hidden = true; said.replaceChildren(); setTimeout(refresh, 150); },
    };
    const listen = () => {
      words = new EventSource(writing.dataset.stream + (after ? "?after=" + after : ""));
      for (const kind of Object.keys(on)) words.addEventListener(kind, (event) => { after = event.lastEventId; on[kind](JSON.parse(event.data)); });
      words.addEventListener("settled", () => { hush(); writing.hidden = true; });
    };
    const hush = () => { if (words) words.close(); words = null; };
    document.addEventListener("visibilitychange", () => { hush(); if (document.visibilityState === "visible") listen(); });
    addEventListener("pagehide", hush);
    if (document.visibilityState === "visible") listen();
  }

  function dress(part) {
    // Browsers lend the clipboard to pages of https and of this machine alone; elsewhere there would be a button that does nothing.
    for (const one of navigator.clipboard ? part.querySelectorAll("[data-copy]") : []) {
      one.hidden = false;
      one.onclick = async () => {
        await navigator.clipboard.writeText(one.parentElement.querySelector("code").textContent);
        one.textContent = "Copied";
        setTimeout(() => { one.textContent = "Copy"; }, 1500);
      };
    }
    for (const one of part.querySelectorAll("[data-all]")) {
      one.hidden = false;
      one.querySelector("input").onchange = (event) => {
        for (const box of one.closest("form").querySelectorAll("input[name=session_id]")) box.checked = event.target.checked;
      };
    }
  }
  dress(document);
})();
