"use strict";
(() => {
  const root = document.documentElement;
  const buttons = [...document.querySelectorAll("[data-language]")];
  const cards = [...document.querySelectorAll(".card")];
  const store = {
    get() { try { return localStorage.getItem("language"); } catch { return null; } },
    set(value) { try { localStorage.setItem("language", value); } catch { /* a file may have no storage */ } },
  };

  function speak(language) {
    root.lang = language === "zh" ? "zh-Hans" : "en";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  for (const button of buttons) {
    button.addEventListener("click", () => { speak(button.dataset.language); store.set(button.dataset.language); });
  }
  const told = location.hash === "#zh" || location.hash === "#en" ? location.hash.slice(1) : store.get();
  speak(told === "zh" || told === "en" ? told : navigator.language.startsWith("zh") ? "zh" : "en");

  const wanted = {
    all: () => true,
    right: (card) => card.dataset.state === "right",
    wrong: (card) => card.dataset.state === "wrong",
    unparsed: (card) => card.dataset.state === "unparsed",
    changed: (card) => card.dataset.change !== "",
    lower: (card) => card.dataset.trend === "lower",
    higher: (card) => card.dataset.trend === "higher",
  };
  const count = document.getElementById("count");
  function choose(name) {
    let number = 0;
    for (const card of cards) {
      card.hidden = !wanted[name](card);
      number += card.hidden ? 0 : 1;
    }
    count.textContent = String(number);
  }
  for (const input of document.querySelectorAll("input[name=filter]")) {
    input.addEventListener("change", () => choose(input.value));
    if (input.checked) choose(input.value);
  }

  function step(by) {
    const seen = cards.filter((card) => !card.hidden);
    const here = seen.indexOf(document.activeElement?.closest(".card"));
    const next = seen[here === -1 ? 0 : Math.min(Math.max(here + by, 0), seen.length - 1)];
    next?.focus();
    next?.scrollIntoView({ block: "start" });
  }
  const dialog = document.querySelector("dialog");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
  });

  const large = dialog.querySelector("img");
  for (const picture of document.querySelectorAll(".picture")) {
    picture.addEventListener("click", () => {
      large.src = picture.querySelector("img").src;
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
})();
