// Measure one TypeScript client from inside its process, as _measure.py does for Python.
const WINDOW = Number(process.argv[3]);
const WARM_UP = 2000;

const cpuMicros = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

export const CALLS = Number(process.argv[2]);
export const [COMMAND, ...ARGS] = process.argv.slice(4);

export async function measure(callTool, calls) {
  const call = async (number) => {
    const text = (await callTool({ name: "add", arguments: { a: number, b: 7 } })).content[0].text;
    if (text !== String(number + 7)) throw new Error(`expected ${number + 7}, got ${text}`);
  };
  const share = async (start, stop) => {
    for (let number = start; number < stop; number += WINDOW) await call(number);
  };
  const all = (stop) => Promise.all(Array.from({ length: WINDOW }, (_, index) => share(index, stop)));

  await all(WARM_UP);
  const times = [];
  let cpu = cpuMicros();
  for (let number = 0; number < calls / 4; number++) {
    const start = process.hrtime.bigint();
    await call(number);
    times.push(Number(process.hrtime.bigint() - start) / 1e3);
  }
  const results = { sequential_cpu_us: (cpuMicros() - cpu) / times.length };
  results.p50_us = times.sort((a, b) => a - b)[times.length >> 1];
  cpu = cpuMicros();
  const start = process.hrtime.bigint();
  await all(calls);
  results.cpu_us = (cpuMicros() - cpu) / calls;
  results.calls_per_s = (calls / Number(process.hrtime.bigint() - start)) * 1e9;
  console.log(JSON.stringify(results));
}
