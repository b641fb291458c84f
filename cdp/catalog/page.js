// Search and the highlights of the lineage pictures; without this script the page says the same.
"use strict";
(() => {
  const entries = JSON.parse(document.getElementById("index").textContent);
  const form = document.querySelector("form[role=search]");
  const input = document.getElementById("search");
  const found = document.getElementById("found");
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  for (const entry of entries) {
    entry.words = plain(`${entry.name} ${entry.name.replaceAll("_", " ")} ${entry.kind.replace("_", " ")} ${entry.text}`);
    entry.article = document.getElementById(entry.id);
    entry.item = document.querySelector(`nav a[href="#${CSS.escape(entry.id)}"]`)?.closest("li");
  }
  const search = () => {
    const words = plain(input.value).split(/\s+/).filter(Boolean);
    let count = 0;
    for (const entry of entries) {
      const hit = words.every((word) => entry.words.includes(word));
      count += hit;
      for (const element of [entry.article, entry.item]) if (element) element.hidden = !hit;
    }
    for (const group of document.querySelectorAll("nav details")) group.hidden = !group.querySelector("li:not([hidden])");
    document.body.classList.toggle("searching", words.length > 0);
    for (const section of document.querySelectorAll("main > section[id$=s]")) {
      section.hidden = !section.querySelector("article:not([hidden])");
    }
    found.textContent = words.length ? `${count} found` : "";
    history.replaceState(null, "", words.length ? `?q=${encodeURIComponent(input.value)}${location.hash}` : location.pathname + location.hash);
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    document.querySelector("article:not([hidden])")?.scrollIntoView();
  });
  input.addEventListener("input", search);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      input.focus();
    } else if (event.key === "Escape" && document.activeElement === input) {
      input.value = "";
      search();
    }
  });
  document.addEventListener("click", (event) => {
    // a link to what the search has hidden ends the search
    const target = event.target.closest("a[href^='#']");
    const article = target && document.getElementById(target.getAttribute("href").slice(1));
    if (article?.closest("[hidden]") || article?.hidden) {
      input.value = "";
      search();
    }
  });
  input.value = new URLSearchParams(location.search).get("q") ?? "";
  if (input.value) search();

  for (const picture of document.querySelectorAll("svg.lineage")) {
    const lines = [...picture.querySelectorAll(".edge")];
    const reach = (start, from, to) => {
      const seen = new Set([start]);
      const waiting = [start];
      while (waiting.length) {
        const at = waiting.pop();
        for (const line of lines) {
          if (line.dataset[from] === at) {
            line.classList.add("on");
            if (!seen.has(line.dataset[to])) {
              seen.add(line.dataset[to]);
              waiting.push(line.dataset[to]);
            }
          }
        }
      }
      return seen;
    };
    const mark = (node) => {
      const seen = new Set([...reach(node.dataset.node, "from", "to"), ...reach(node.dataset.node, "to", "from")]);
      picture.classList.add("marked");
      for (const other of picture.querySelectorAll(".node")) other.classList.toggle("on", seen.has(other.dataset.node));
    };
    const clear = () => {
      picture.classList.remove("marked");
      for (const each of picture.querySelectorAll(".on")) each.classList.remove("on");
    };
    for (const node of picture.querySelectorAll(".node")) {
      for (const event of ["mouseenter", "focus"]) node.addEventListener(event, () => { clear(); mark(node); });
      for (const event of ["mouseleave", "blur"]) node.addEventListener(event, clear);
    }
  }
})();
