/* uPlot with our colours: a chart of a few series over time, drawn anew when its box or the colour scheme changes. */
"use strict";

const charts = (() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const UNITS = [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"], [1, "bit/s"]];
  const axisEach = (value) => String(Number(value.toPrecision(3)));

  function axisRate(bps) {
    if (bps === 0) return "0";
    const [size, unit] = UNITS.find(([size]) => Math.abs(bps) >= size) ?? [1, "bit/s"];
    return `${axisEach(bps / size)} ${unit}`;
  }

  function rate(bps) {
    if (bps === null || bps === undefined) return "–";
    if (Math.abs(bps) < 1e3) return `${Math.round(bps)} bit/s`;
    const [size, unit] = UNITS.find(([size]) => Math.abs(bps) >= size);
    return `${digits(bps / size)} ${unit}`;
  }

  function newest(column) {
    for (let i = column.length - 1; i >= 0; i--) if (column[i] !== null) return column[i];
    return null;
  }

  function digits(value) {
    return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
  }

  function each(value) {
    if (value === null || value === undefined) return "–";
    return value === 0 ? "0" : digits(value);
  }

  function time(seconds, span) {
    const at = new Date(seconds * 1000);
    if (span > 5 * 86400) return headend.day.format(at);
    const clock = headend.clock.format(at);
    return span > 900 ? clock.slice(0, 5) : clock;
  }

  class Chart {
    /* series: [{label, colour: css variable, fill}], format: value → text */
    constructor(element, series, format, axisFormat) {
      this.element = element;
      this.series = series;
      this.format = format;
      this.axisFormat = axisFormat;
      this.columns = [[], ...series.map(() => [])];
      this.from = null;
      this.until = null;
      this.draw();
      new ResizeObserver(() => this.resize()).observe(element);
      window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    }

    /* Room for the legend is set aside, not measured: it has one line, or two where two series meet a narrow box. */
    size() {
      const width = this.element.clientWidth;
      const legend = width < 380 && this.series.length > 1 ? 54 : 30;
      return { width, height: this.element.clientHeight - legend };
    }

    resize() {
      const size = this.size();
      if (this.plot && size.width > 0 && (size.width !== this.plot.width || size.height !== this.plot.height)) this.plot.setSize(size);
    }

    draw() {
      this.plot?.destroy();
      const axis = { stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
      this.plot = new uPlot({
        ...this.size(),
        padding: [8, 24, 0, 0],
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
        legend: { live: true },
        scales: {
          x: { time: true, range: (_plot, low, high) => (this.from === null ? [low, high] : [this.from, this.until]) },
          y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.12 : 1] },
        },
        axes: [
          { ...axis, space: 54, size: 28, values: (plot, splits) => splits.map((s) => time(s, plot.scales.x.max - plot.scales.x.min)) },
          { ...axis, space: 28, size: (_plot, values) => 14 + 7 * Math.max(3, ...(values ?? []).map((v) => v.length)), values: (_plot, splits) => splits.map((v) => this.axisFormat(v)) },
        ],
        series: [
          { label: "Time" },
          ...this.series.map((s) => ({
            label: s.label,
            stroke: colour(s.colour),
            fill: s.fill ? `${colour(s.colour)}1f` : undefined,
            width: 2,
            dash: s.dash,
            points: { show: false },
            spanGaps: false,
            // Without a cursor the legend tells the newest value.
            value: (plot, value, index, at) => this.format(at === null ? newest(plot.data[index]) : value),
          })),
        ],
      }, this.columns, this.element);
      this.resize();
    }

    /* The whole chart: columns [seconds, …values], drawn from … until (seconds). */
    show(columns, from, until) {
      this.columns = columns;
      this.from = from;
      this.until = until;
      this.plot.setData(columns);
    }
  }

  return { Chart, rate, each, axisRate, axisEach };
})();
