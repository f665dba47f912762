// The page of the endpoints, made from the OpenAPI document of this server.

import {complain, config} from "/assets/net.js";
import {make} from "/assets/dom.js";

const main = document.getElementById("main");

function example(properties) {
  const values = {texts: ["a text"], images: ["BASE64"], prompt: "a text", inputs: [[0]], series: [Object.fromEntries((config.channels ?? []).map?.((one) => [one.name, one.mean]) ?? [])],
    rows: [Object.fromEntries((config.columns ?? []).map((one) => [one.name, one.kind === "number" ? one.mean : one.categories?.[0] ?? "..."]))]};
  return Object.fromEntries(Object.keys(properties).filter((name) => name in values).map((name) => [name, values[name]]));
}

function described(name, schema, required) {
  const type = [].concat(schema.type).join(" or "), items = schema.items?.type ? ` of ${schema.items.type}` : "";
  const range = schema.minimum !== undefined ? `, ${schema.minimum} to ${schema.maximum}` : schema.maxItems ? `, up to ${schema.maxItems}` : schema.maxLength ? `, up to ${schema.maxLength} characters` : "";
  const standard = schema.default !== undefined ? String(schema.default) : required ? "required" : "";
  return [name, `${type}${items}${range}`, standard, schema.description ?? ""];
}

function table(headers, rows) {
  return make("div", {className: "scroll"}, make("table", {},
    make("thead", {}, make("tr", {}, ...headers.map((text) => make("th", {scope: "col", textContent: text})))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((text) => make("td", {textContent: text})))))));
}

const response = await fetch("/openapi.json");
if (!response.ok) complain((await response.json()).error);
const found = await response.json();
main.append(make("p", {className: "operation"}, `OpenAPI ${found.openapi}: `, make("a", {href: "/openapi.json", textContent: "openapi.json"}), ` of ${found.info.title}. Errors are objects with a sentence: {"error": "..."}.`));
for (const [path, operations] of Object.entries(found.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    const parts = [make("h2", {}, make("span", {className: "method", textContent: method.toUpperCase()}), path), make("p", {textContent: operation.summary})];
    const schema = operation.requestBody?.content["application/json"].schema;
    if (schema) {
      parts.push(table(["field", "type", "default", "what it is"], Object.entries(schema.properties).map(([name, one]) => described(name, one, schema.required.includes(name)))));
      const body = JSON.stringify(example(schema.properties)).replaceAll("'", "\\u0027");
      parts.push(make("pre", {textContent: `curl ${location.origin}${path} -H 'Content-Type: application/json' \\\n  -d '${body}'`}));
      if (operation.requestBody.content["image/*"]) parts.push(make("pre", {textContent: `curl ${location.origin}${path} -H 'Content-Type: image/png' --data-binary @digit.png`}));
    }
    parts.push(table(["status", "meaning"], Object.entries(operation.responses).map(([status, one]) => [status, one.description])));
    main.append(make("section", {className: "card operation"}, ...parts));
  }
}
main.dataset.ready = "api";
