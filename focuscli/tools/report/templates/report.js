"use strict";
// The page is complete without this script. It lets a reader move the threshold; all numbers are in the page.
for (const box of document.querySelectorAll("[data-curves]")) {
  const { views, sources } = JSON.parse(box.querySelector("script").textContent);
  const [select, slider, svg] = ["select", "input", "svg"].map((name) => box.querySelector(name));
  const jumps = box.querySelector(".jumps");
  const what = box.querySelector("[data-what]");
  const aboutAll = what.textContent;
  const [left, top, wide, high, low, end] = svg.dataset.plot.split(" ").map(Number);
  const toX = (t) => left + (wide * (Math.min(end, Math.max(low, t)) - low)) / (end - low);
  const short = { val: "val", global: "global, from val", oracle: "oracle, optimistic" };
  let view = null;

  function showValue(name, text) {
    const cell = box.querySelector(`[data-out=${name}]`);
    cell.textContent = text;
    return cell;
  }

  function move() {
    const at = Number(slider.value), t = view.thresholds[at];
    const found = Object.keys(view.positions).filter((name) => view.positions[name] === at);
    svg.querySelector(".cursor path").setAttribute("d", `M${toX(t).toFixed(1)} ${top}v${high}`);
    showValue("threshold", t.toFixed(3).replace("-", "−"));
    showValue("source", found.length ? found.map((name) => sources[name]).join("; ") : "this slider: chosen on these images, optimistic")
      .classList.toggle("optimistic", !found.some((name) => name !== "oracle"));
    for (const [key, values] of Object.entries(view.metrics)) showValue(key, values[at] === null ? "–" : (values[at] / 100).toFixed(2));
    slider.setAttribute("aria-valuetext", `threshold ${t.toFixed(3)}`);
  }

  function show(index) {
    view = views[index];
    for (const key of ["precision", "recall", "mA"]) {
      let path = "", pen = "M";
      view.metrics[key].forEach((value, at) => {
        // Precision without any positive prediction counts as 0 in the metrics; as a line it would be a false cliff.
        if (value === null || (key === "precision" && value === 0)) { pen = "M"; return; }
        path += `${pen}${toX(view.thresholds[at]).toFixed(1)} ${(top + high * (1 - value / 1e4)).toFixed(1)}`;
        pen = "L";
      });
      svg.querySelector(`.${key} path`).setAttribute("d", path);
    }
    svg.querySelectorAll(".mark").forEach((mark) => mark.remove());
    jumps.replaceChildren();
    let last = [-Infinity, 0];
    for (const [name, at] of Object.entries(view.positions).sort((a, b) => a[1] - b[1])) {
      const x = toX(view.thresholds[at]);
      const mark = svg.appendChild(document.createElementNS(svg.namespaceURI, "g"));
      mark.setAttribute("class", "mark");
      mark.dataset.mark = name;
      const line = mark.appendChild(document.createElementNS(svg.namespaceURI, "path"));
      line.setAttribute("d", `M${x.toFixed(1)} ${top}v${high}`);
      const text = mark.appendChild(document.createElementNS(svg.namespaceURI, "text"));
      text.textContent = view.phrase ? name : short[name];
      // Names of neighbouring thresholds alternate between two lines, so that they do not overlap.
      const line2 = x - last[0] < 60 && last[1] === 0 ? 1 : 0;
      last = [x, line2];
      text.setAttribute("x", x.toFixed(1));
      text.setAttribute("y", top - 4 - 9 * line2);
      text.setAttribute("text-anchor", x > left + wide * 0.85 ? "end" : x < left + wide * 0.15 ? "start" : "middle");
      const jump = jumps.appendChild(document.createElement("button"));
      jump.type = "button";
      jump.textContent = short[name];
      jump.addEventListener("click", () => { slider.value = at; move(); });
    }
    svg.appendChild(svg.querySelector(".cursor"));
    what.textContent = view.phrase
      ? `${view.phrase}: percent against its threshold; precision and recall of this attribute, ${view.positives} of ${view.known} images positive.`
      : aboutAll;
    slider.max = view.thresholds.length - 1;
    slider.value = view.positions.val ?? view.positions.global;
    move();
  }

  const groups = new Map();
  views.forEach((item, index) => {
    const option = new Option(item.phrase || "all, one threshold", index);
    if (!item.region) { select.append(option); return; }
    if (!groups.has(item.region)) {
      const group = document.createElement("optgroup");
      group.label = item.region;
      groups.set(item.region, select.appendChild(group));
    }
    groups.get(item.region).append(option);
  });
  select.addEventListener("change", () => show(Number(select.value)));
  slider.addEventListener("input", move);
  select.closest("label").hidden = views.length < 2;
  box.querySelector(".controls").hidden = false;
  show(0);
}
