// Speaks with `backprop check --command 'node harness.mjs'`: a JSON object a line, numbers as bytes in base64.
import { createInterface } from "node:readline";
import * as mine from "./mine.mjs";

const DTYPES = { float64: Float64Array, float32: Float32Array };

const taken = ({ shape, dtype, data }) => {
  const { buffer, byteOffset, length } = Buffer.from(data, "base64");
  return { shape, data: Float64Array.from(new DTYPES[dtype](buffer.slice(byteOffset, byteOffset + length))) };
};

const given = ({ shape, data }, dtype) => {
  const { buffer } = DTYPES[dtype].from(data);
  return { shape, dtype, data: Buffer.from(buffer).toString("base64") };
};

const answer = ({ id, function: name, arguments: args }) => {
  const { dtype } = args[0];
  const axes = mine.AXES[name];
  if (!DTYPES[dtype]) return { id, skipped: `no ${dtype} here` };
  if (axes?.some((count, i) => args[i].shape.length !== count)) return { id, skipped: "one example at a time" };
  try {
    return { id, results: mine[name](args.map(taken)).map((array) => given(array, dtype)) };
  } catch (error) {
    return { id, error: String(error) };
  }
};

const start = { name: "mine.mjs", language: "JavaScript", functions: Object.keys(mine.AXES), numbers: "base64" };

for await (const line of createInterface({ input: process.stdin, terminal: false })) {
  const message = JSON.parse(line);
  if (message.do === "stop") break;
  console.log(JSON.stringify(message.do === "start" ? start : answer(message)));
}
