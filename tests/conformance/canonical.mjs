// The canonical form by schemas/canonical/README.md alone, independent of the Python code.
// Reads vectors.json (path as argument), prints one JSON object: what it makes of every input.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const vectors = JSON.parse(readFileSync(process.argv[2], "utf8"));
const MAX = 2n ** 53n - 1n;

// Typed input -> plain value: integers are BigInt, doubles are Number, objects are Map.
function valueOf(typed) {
  if (Array.isArray(typed)) return typed.map(valueOf);
  if (typed === null || typeof typed !== "object") return typed;
  if ("int" in typed) return BigInt(typed.int);
  if ("float" in typed) return Number(typed.float.replace("inf", "Infinity"));
  if ("repeat" in typed) return typed.repeat.repeat(typed.times);
  return new Map(typed.object.map(([key, value]) => [valueOf(key), valueOf(value)]));
}

function canonical(value, depth = 0) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "bigint")
    return value <= MAX && value >= -MAX ? String(value) : `{"$int":"${value}"}`;
  if (typeof value === "number" && Number.isFinite(value)) return JSON.stringify(value);
  if (typeof value === "string" && value.isWellFormed()) return JSON.stringify(value);
  if (depth >= 64 || typeof value !== "object") throw new TypeError("no canonical form");
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, depth + 1)).join()}]`;
  const members = [...value].map(([key, item]) => {
    if (typeof key !== "string") throw new TypeError("no canonical form");
    return [key.startsWith("$") ? `$${key}` : key, item];
  });
  members.sort(([a], [b]) => (a < b ? -1 : 1)); // JavaScript compares UTF-16 units
  const text = members.map(([key, item]) => `${canonical(key)}:${canonical(item, depth + 1)}`);
  return `{${text.join()}}`;
}

const sha256 = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};
const digest = (domain, body) => `sha256:${sha256(vectors.domains[domain], body)}`;

function reference(text) {
  const raw = Buffer.from(text, "utf8");
  const content = { bytes: raw.length, digest: digest("content", raw) };
  const pieces = [];
  for (let start = 0; raw.length > 131072 && start < raw.length; ) {
    let end = Math.min(start + 131072, raw.length);
    while (end < raw.length && (raw[end] & 0xc0) === 0x80) end -= 1;
    pieces.push(digest("content", raw.subarray(start, end)));
    start = end;
  }
  return { content: pieces.length ? { ...content, pieces } : content };
}

function listing(files) {
  const paths = Object.keys(files).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const entry = (path) =>
    new Map([
      ["path", path],
      ["bytes", Buffer.byteLength(files[path])],
      ["digest", `sha256:${sha256(files[path])}`],
    ]);
  return canonical(new Map([["files", paths.map(entry)]]));
}

function fingerprint(items) {
  let sum = 0n;
  for (const [id, text] of Object.entries(items))
    sum += BigInt(`0x${sha256("mvtrace.index-item/1\n", canonical(id), "\njson\n", canonical(text))}`);
  const hex = (sum % 2n ** 256n).toString(16).padStart(64, "0");
  return `sha256:${sha256("mvtrace.index/1\n", canonical(new Map([["sum", hex]])))}`;
}

function isRefused(typed) {
  try {
    canonical(valueOf(typed));
    return false;
  } catch {
    return true;
  }
}

const [worked] = vectors.composites;
console.log(
  JSON.stringify({
    canonical: vectors.canonical.map(({ input }) => canonical(valueOf(input))),
    refused: vectors.refused.map(({ input }) => isRefused(input)),
    digests: vectors.digests.map(({ domain, input }) => digest(domain, canonical(valueOf(input)))),
    mismatches: vectors.mismatches.map((one) => digest(one.domain, one.body) === one.digest),
    contents: vectors.contents.map(({ input }) => reference(valueOf(input))),
    artifacts: vectors.artifacts.map(({ files }) => digest("artifact", listing(files))),
    indexes: vectors.indexes.map(({ items }) => fingerprint(items)),
    components: worked.components.map(({ body }) => digest("component", body)),
    version: sha256(vectors.domains.composite, worked.manifest),
  }),
);
