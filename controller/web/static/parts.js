/* Charts of plain pages: each card carries its data as JSON beside the box it is drawn in. */
"use strict";

const octets = (value, write = charts.each) => {
  if (value === null || value === undefined) return "–";
  const units = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]];
  const [size, unit] = units.find(([size]) => value >= size) ?? [1, "B"];
  return `${write(value / size)} ${unit}`;
};
const money = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
const WRITERS = { octets: [octets, (value) => octets(value, charts.axisEach)], money: [money, charts.axisEach] };
const COLOURS = ["--down", "--up", "--third"];

for (const box of document.querySelectorAll("[data-chart]")) {
  if (typeof uPlot === "undefined") break;
  const { labels, columns } = JSON.parse(box.nextElementSibling.textContent);
  const [write, writeAxis] = WRITERS[box.dataset.chart];
  const series = labels.map((label, index) => ({ label, colour: COLOURS[index], fill: index === 0, dash: index ? [4, 3] : undefined }));
  const chart = new charts.Chart(box, series, write, writeAxis);
  const numbers = columns.map((column) => column.map((value) => (value === null ? null : Number(value))));
  const times = numbers[0];
  chart.show(numbers, times[0], times[times.length - 1]);
}
