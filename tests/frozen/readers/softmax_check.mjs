// Checks a softmax in JavaScript against the frozen vectors: node softmax_check.mjs softmax.json [standard]
// Exit code 0: every case agrees; 1: one does not; 2: the file can't be read.
import { readFileSync } from "node:fs";

// x - c exactly, as a sum of two numbers: what rounding takes from a large logit would be lost in its exp.
function expOfDifference(x, c) {
  const d = x - c;
  const t = d - x;
  const rest = x - (d - t) - (c + t);
  return Number.isFinite(d) ? Math.exp(d) * (1 + rest) : Math.exp(d);
}

function softmax(x) {
  const c = Math.max(...x);
  const f = x.map((xi) => expOfDifference(xi, c));
  const sum = f.reduce((a, b) => a + b);
  return f.map((fi) => fi / sum);
}

const numbers = (list) => list.map(Number); // the texts "NaN", "Infinity" and "-Infinity", too
const agrees = (got, expected, condition, units, eps) =>
  Object.is(got, expected) || got === expected || units === Infinity || Math.abs(got - expected) / condition <= units * eps;
const rowsOf = (x, n) => Array.from({ length: x.length / n }, (_, row) => x.slice(row * n, (row + 1) * n));

const document = JSON.parse(readFileSync(process.argv[2], "utf8"));
const standard = process.argv[3] === "standard";
let run = 0;
let wrong = 0;
for (const group of document.testGroups) {
  const round = group.dtype === "float32" ? Math.fround : (a) => a;
  for (const test of group.tests) {
    const got = rowsOf(numbers(test.inputs.x), group.sizes.n).flatMap(softmax).map(round); // a batch has several rows
    const [expected, condition] = [numbers(test.value.expected), numbers(test.value.condition)];
    const units = standard ? numbers(test.value.standard) : expected.map(() => test.value.tolerance);
    run += 1;
    const right = (g, i) => agrees(g, expected[i], condition[i], units[i], group.eps);
    if (got.length !== expected.length || !got.every(right)) {
      wrong += 1;
      console.log(`tcId ${test.tcId}: wrong (${test.comment}): ${test.flags.map((f) => document.notes[f].description)}`);
    }
  }
}
console.log(`${run} cases, ${wrong} wrong`);
process.exit(run !== document.numberOfTests || run === 0 ? 2 : wrong ? 1 : 0);
