// Runs a model that was compiled to WebAssembly on the numbers of a file, and writes its output to another.
// usage: node run.mjs MODULE NAME INPUT OUTPUT EXTENT...     the extents are those of the only input; symbols follow from them
import { readFileSync, writeFileSync } from "node:fs";

const [path, name, from, to, ...words] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(readFileSync(path), {});
const model = Object.fromEntries(Object.entries(instance.exports).map(([key, value]) => [key.replace(`${name}_`, ""), value]));
const memory = instance.exports.memory;

// Memory is taken from where the module's own ends, and never given back.
let end = instance.exports.__heap_base.value;
function take(bytes) {
  const at = Math.ceil(end / 64) * 64;
  end = at + bytes;
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  return at;
}
function check(what, status) {
  if (status !== 0) {
    const text = new Uint8Array(memory.buffer, model.status_message(status));
    throw new Error(`${what}: ${new TextDecoder().decode(text.slice(0, text.indexOf(0)))}`);
  }
}
// Three pointers and two numbers: data, shape, strides, rank, element type.
function tensor(data, shape, rank) {
  const at = take(20);
  new Uint32Array(memory.buffer, at, 5).set([data, shape, 0, rank, 1]);
  return at;
}

const input = readFileSync(from);
const [data, shape] = [take(input.length), take(8 * words.length)];
new Uint8Array(memory.buffer, data, input.length).set(input);
new BigInt64Array(memory.buffer, shape, words.length).set(words.map(BigInt));
const inputs = tensor(data, shape, words.length);
const dims = take(8 * Math.max(1, model.symbol_count()));
check("infer_dims", model.infer_dims(inputs, dims));
const rank = model.output_rank(0);
const outputShape = take(8 * Math.max(1, rank));
check("output_shape", model.output_shape(dims, 0, outputShape));
const extents = [...new BigInt64Array(memory.buffer, outputShape, rank)].map(Number);
const bytes = 4 * extents.reduce((a, b) => a * b, 1);
const result = take(bytes);
const outputs = tensor(result, outputShape, rank);

const size = model.context_bytes();
const [place, slot] = [take(size), take(4)];
check("create_in", model.create_in(place, size, slot, model.abi_version()));
const context = new Uint32Array(memory.buffer, slot, 1)[0];
const arenaBytes = model.arena_bytes(dims, 1) >>> 0;
check("set_arena", model.set_arena(context, take(arenaBytes), arenaBytes));
check("run", model.run(context, inputs, outputs));
writeFileSync(to, new Uint8Array(memory.buffer, result, bytes));

// What is wrong is a status here, too.
new Uint32Array(memory.buffer, inputs, 5)[3] = words.length + 1;
if (model.run(context, inputs, outputs) === 0) throw new Error("a wrong rank is not refused");
