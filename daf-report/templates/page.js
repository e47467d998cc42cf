"use strict";
(() => {
  const gallery = document.getElementById("gallery");
  if (!gallery) return;
  const cards = Array.from(gallery.children);
  const element = (id) => document.getElementById(id);
  const viewer = element("viewer");
  const value = (id) => (element(id) ? element(id).value : "");
  let shown = cards;
  let current = 0;

  const number = (card, key) => Number(card.dataset[key]);
  const orders = {
    error: (a, b) => number(b, "error") - number(a, "error"),
    high: (a, b) => number(b, "score") - number(a, "score"),
    low: (a, b) => number(a, "score") - number(b, "score"),
    place: () => 0,
  };

  function arrange() {
    const order = orders[value("sort")];
    const [kind, verdict] = [value("kind"), value("verdict")];
    const fits = (card) =>
      (!kind || card.dataset.kinds.split("\n").includes(kind)) &&
      (!verdict || (verdict === "wrong" ? "wrong" in card.dataset : card.dataset.verdict === verdict));
    cards.sort((a, b) => order(a, b) || number(a, "place") - number(b, "place"));
    for (const card of cards) card.hidden = !fits(card);
    gallery.append(...cards);
    shown = cards.filter((card) => !card.hidden);
    element("count").value = `${shown.length} of ${cards.length} images`;
  }

  // Cards without a picture cannot be enlarged.
  const picture = (card) => card.querySelector(".strip");

  function show(card) {
    current = shown.indexOf(card);
    const strip = picture(card);
    const views = Array.from(strip.children, (view) => {
      const figure = document.createElement("figure");
      const large = view.cloneNode();
      large.style.cssText = strip.style.cssText;
      large.setAttribute("role", "img");
      large.setAttribute("aria-label", `${view.dataset.view} of ${card.querySelector(".file").textContent}`);
      const name = document.createElement("figcaption");
      name.textContent = view.dataset.view;
      figure.append(large, name);
      return figure;
    });
    element("viewer-views").replaceChildren(...views);
    element("viewer-title").textContent = card.querySelector(".file").textContent;
    const position = `${current + 1} of ${shown.length}`;
    const words = [".label", ".badge", ".score"].map((name) => card.querySelector(name)?.textContent);
    element("viewer-caption").textContent = words.concat(position).filter(Boolean).join(" · ");
    if (!viewer.open) viewer.showModal();
  }

  function browse(step) {
    for (let at = current + step; at >= 0 && at < shown.length; at += step) {
      if (picture(shown[at])) return show(shown[at]);
    }
  }

  gallery.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(button.closest(".card"));
  });
  viewer.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    browse(steps[event.key]);
  });
  // Back to where one has browsed to, rather than to where one began.
  viewer.addEventListener("close", () => {
    const card = shown[current];
    card.scrollIntoView({ block: "nearest" });
    card.querySelector("button").focus();
  });
  viewer.addEventListener("click", (event) => {
    if (event.target === viewer) viewer.close();
  });
  element("previous").addEventListener("click", () => browse(-1));
  element("next").addEventListener("click", () => browse(1));
  element("close").addEventListener("click", () => viewer.close());
  for (const id of ["sort", "kind", "verdict"]) element(id)?.addEventListener("change", arrange);
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("controls").hidden = false;
  arrange();
})();
