// The same script as _scenario.py, for the TypeScript clients: see there.
const TEXT = 'quote " backslash \\ newline \n accents é 日本 \u{1f40d} line separators \u2028 \u2029 \x7f';
const BIG = 300_000;
const TIMEOUT_MS = 500;
const CHANGE_MS = 5_000;
// How often, and how far apart, something is looked for that may come late.
const TURNS = 50;
const TURN_MS = 10;

export const ANSWER = "blue";
export const SAMPLED = "hi there";
export const ROOT = "file:///workspace";
// The mode, and the server's URL or the words of its command.
export const [MODE, ...TARGET] = process.argv.slice(2);
export const OVER_HTTP = TARGET[0].startsWith("http");

const describe = (error) => ({ type: error.constructor.name, code: error.code ?? null, message: String(error.message) });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const settled = async (events, count) => {
  for (let turn = 0; turn < TURNS && events.length < count; turn++) await sleep(TURN_MS);
  return events;
};

const within = async (ms, promise) => {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`no end within ${ms} ms`)), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

// Answer what a server asks for, whatever the name of the one field of its form is.
export const elicited = ({ requestedSchema }) => ({
  action: "accept",
  content: { [Object.keys(requestedSchema.properties)[0]]: ANSWER },
});
export const sampled = () => ({ role: "assistant", model: "none", content: { type: "text", text: SAMPLED } });
export const rooted = () => ({ roots: [{ uri: ROOT }] });

export async function run({ client, revision, session, logged, setLevel, call, hearOfTools }) {
  const seen = { revision, session: session ?? null };
  const progress = [];
  const onprogress = ({ progress: done, total }) => progress.push([done, total ?? null]);
  const outcome = async (name, args, options = {}) => {
    const result = await call({ name, arguments: args }, options);
    return { text: result.content[0].text, is_error: result.isError ?? false };
  };
  const step = async (name, action) => {
    try {
      seen[name] = (await action()) ?? null;
    } catch (error) {
      seen[name] = { error: describe(error) };
    }
  };

  await step("tools", async () => {
    let page = await client.listTools();
    const names = page.tools.map((tool) => tool.name);
    while (page.nextCursor !== undefined) {
      page = await client.listTools({ cursor: page.nextCursor });
      names.push(...page.tools.map((tool) => tool.name));
    }
    return names.sort();
  });
  await step("add", () => outcome("add", { a: 2, b: 3 }));
  await step("echo", () => outcome("echo", { text: TEXT }));
  await step("big", async () => (await outcome("echo", { text: "x".repeat(BIG) })).text.length);
  await step("fail", () => outcome("fail", {}));
  await step("invalid", () => outcome("add", { a: "two", b: 3 }));
  await step("unknown_tool", () => outcome("no_such_tool", {}));
  await step("concurrent", async () => {
    const numbers = Array.from({ length: 20 }, (_, n) => n);
    return (await Promise.all(numbers.map((n) => outcome("add", { a: n, b: n })))).map((result) => result.text);
  });
  await step("progress", async () => {
    const { text } = await outcome("progress", { steps: 3 }, { onprogress });
    return { text, events: await settled(progress, 3) };
  });
  await step("poll", () => outcome("poll", {}));
  await step("set_level", async () => void (await setLevel("debug")));
  await step("log", async () => {
    const { text } = await outcome("log", { message: "hello log" });
    return { text, events: await settled(logged, 1) };
  });
  await step("ask", () => outcome("ask", { question: "Which colour?" }));
  await step("sample", () => outcome("sample", { prompt: "Say hi" }));
  await step("roots", () => outcome("roots", {}));
  await step("timeout", async () => {
    await outcome("interrupted", {}); // the end of another client's session may have been one
    try {
      return (await outcome("slow", { seconds: 30 }, { timeout: TIMEOUT_MS })).text;
    } catch (error) {
      if (/timed out/i.test(error.message)) return "timed out";
      throw error;
    }
  });
  await step("after_timeout", () => outcome("add", { a: 20, b: 22 }));
  await step("interrupted", async () => {
    let count = "0";
    for (let turn = 0; turn < TURNS && count === "0"; turn++) {
      // The withdrawal travels beside the calls, and may come after them.
      count = (await outcome("interrupted", {})).text;
      await sleep(TURN_MS);
    }
    return count;
  });
  await step("changed", async () => {
    await within(CHANGE_MS, hearOfTools(() => outcome("touch", {})));
    return "heard";
  });
  await step("resources", async () => (await client.listResources()).resources.map((item) => item.uri));
  await step("templates", async () => {
    return (await client.listResourceTemplates()).resourceTemplates.map((item) => item.uriTemplate);
  });
  const read = async (uri) => (await client.readResource({ uri })).contents[0].text;
  await step("read_fixed", () => read("info://fixed"));
  await step("read_template", () => read("note://cats"));
  await step("read_missing", () => read("missing://nothing"));
  await step("prompts", async () => (await client.listPrompts()).prompts.map((item) => item.name));
  const prompt = async (name, args) => (await client.getPrompt({ name, arguments: args })).messages[0].content.text;
  await step("prompt", () => prompt("review", { code: "x = 1" }));
  await step("prompt_missing", () => prompt("no_such_prompt", {}));
  console.log(JSON.stringify(seen));
}
