// What Grafana makes of dashboards, by its own library: `node show.cjs LIBRARY <asked >answered`.
//
// Asked are panels, each with what Prometheus answered to its queries. Answered is, for each
// panel, what Grafana does not know in it, and the fields that it shows, with their texts.

const [, , library] = process.argv;
// The library expects a browser.
globalThis.window = globalThis;
const navigator = { userAgent: "node", platform: "", language: "en-US", languages: ["en-US"] };
Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
const grafana = require(require.resolve("@grafana/data", { paths: [library] }));

const theme = grafana.createTheme();
grafana.standardTransformersRegistry.setInit(() =>
  [...new Set(Object.values(grafana.standardTransformers))]
    .filter((one) => !one.isDeprecated && one.id)
    .map((one) => ({ ...one, transformation: one })),
);
// What the options of a field are called; to them come those that only one kind of panel has.
const OPTIONS = "unit min max decimals displayName noValue color thresholds mappings links";

function optionsOf({ defaults, overrides }) {
  const properties = overrides.flatMap((one) => one.properties).map((one) => one.id);
  const custom = Object.keys(defaults.custom ?? {}).map((key) => `custom.${key}`);
  const own = [...custom, ...properties].filter((id) => id.startsWith("custom."));
  const ids = new Set([...OPTIONS.split(" "), ...own]);
  return new grafana.Registry(() =>
    [...ids].map((id) => ({
      id,
      path: id.replace("custom.", ""),
      name: id,
      isCustom: id.startsWith("custom."),
      process: grafana.identityOverrideProcessor,
      shouldApply: () => true,
    })),
  );
}

const UNITS = new Set(
  grafana.getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value)),
);
// An unknown unit is no error: Grafana writes its name behind the value.
const FREE_UNIT = /^(prefix|suffix|time|si|count|currency|bool):./;

function unknown(panel) {
  const { defaults, overrides } = panel.fieldConfig;
  const options = panel.options ?? {};
  const properties = overrides.flatMap((one) => one.properties);
  const transformations = panel.transformations ?? [];
  const units = [
    defaults.unit,
    options.yAxis?.unit,
    ...properties.filter((one) => one.id === "unit").map((one) => one.value),
  ];
  const reducers = [
    ...(options.reduceOptions?.calcs ?? []),
    ...(options.legend?.calcs ?? []),
    ...(options.footer?.reducer ?? []),
    ...transformations.flatMap((one) => one.options.reducers ?? one.options.reduce?.reducer ?? []),
  ];
  const missing = (what, ids, known) =>
    ids.filter((id) => id !== undefined && !known(id)).map((id) => `${what} ${id}`);
  return [
    ...missing("unit", units, (id) => UNITS.has(id) || FREE_UNIT.test(id)),
    ...missing("reducer", reducers, (id) => grafana.fieldReducers.getIfExists(id)),
    ...missing(
      "transformation",
      transformations.map((one) => one.id),
      (id) => grafana.standardTransformersRegistry.getIfExists(id),
    ),
    ...missing(
      "matcher",
      overrides.map((one) => one.matcher.id),
      (id) => grafana.fieldMatchers.getIfExists(id),
    ),
  ];
}

// The frames that Grafana's Prometheus data source makes of an answer.
function frames({ format, ref, series }, several) {
  if (format !== "table") {
    return series.map(({ name, metric, values }) =>
      grafana.toDataFrame({
        refId: ref,
        fields: [
          { name: "Time", type: "time", values: values.map(([at]) => 1000 * at) },
          {
            name: "Value",
            type: "number",
            labels: metric,
            config: { displayNameFromDS: name },
            values: values.map(([, value]) => value),
          },
        ],
      }),
    );
  }
  const rows = series.flatMap(({ metric, values }) => values.map((value) => [metric, value]));
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const value = several ? `Value #${ref}` : "Value";
  return [
    grafana.toDataFrame({
      refId: ref,
      fields: [
        { name: "Time", type: "time", values: rows.map(([, [at]]) => 1000 * at) },
        ...labels.map((label) => ({
          name: label,
          type: "string",
          values: rows.map(([metric]) => metric[label] ?? ""),
        })),
        { name: value, type: "number", values: rows.map(([, [, number]]) => number) },
      ],
    }),
  ];
}

function transformed(transformations, data) {
  return new Promise((resolve, reject) => {
    const context = { interpolate: (text) => text };
    grafana
      .transformDataFrame(transformations, data, context)
      .subscribe({ next: resolve, error: reject });
  });
}

function shown(field, frame, all) {
  const show = field.display ?? grafana.getDisplayProcessor({ field, theme });
  const displayed = Array.from(field.values, (value) => show(value));
  return {
    name: grafana.getFieldDisplayName(field, frame, all),
    texts: displayed.map((one) => grafana.formattedValueToString(one)),
    colors: displayed.map((one) => one.color ?? null),
    values: Array.from(field.values),
    type: field.type,
    color: grafana.getFieldSeriesColor(field, theme).color,
    custom: field.config.custom ?? {},
  };
}

// The panels of these kinds have that themselves; the library does not know them.
function withColors({ type, fieldConfig }) {
  const color = type === "timeseries" ? { mode: "palette-classic" } : undefined;
  return { ...fieldConfig, defaults: { color, ...fieldConfig.defaults } };
}

async function answer({ panel, answers }) {
  const problems = unknown(panel);
  if (problems.length || !answers) return { unknown: problems, unmatched: [], frames: [] };
  const data = answers.flatMap((one) => frames(one, answers.length > 1));
  const made = await transformed(panel.transformations ?? [], data);
  const fieldConfig = withColors(panel);
  const all = grafana.applyFieldOverrides({
    data: made,
    fieldConfig,
    fieldConfigRegistry: optionsOf(fieldConfig),
    replaceVariables: (text) => text,
    theme,
    timeZone: "utc",
  });
  const fields = all.flatMap((frame) => frame.fields.map((field) => [field, frame]));
  const unmatched = fieldConfig.overrides
    .map((one) => one.matcher)
    .filter(({ id, options }) => {
      const matches = grafana.fieldMatchers.get(id).get(options);
      return !fields.some(([field, frame]) => matches(field, frame, all));
    })
    .map((matcher) => matcher.options);
  return {
    unknown: [],
    unmatched,
    frames: all.map((frame) => frame.fields.map((field) => shown(field, frame, all))),
  };
}

async function main() {
  const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  process.stdout.write(JSON.stringify(await Promise.all(asked.map(answer))));
}

main();
