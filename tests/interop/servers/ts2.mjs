// The interoperability server on the TypeScript SDK, v2 line (both eras, one set of handlers).
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Events } from "./_events.mjs";

const require = createRequire(new URL("../../../.peers/node/", import.meta.url));
const {
  McpServer,
  ResourceTemplate,
  WebStandardStreamableHTTPServerTransport,
  createMcpHandler,
  inputRequired,
  isLegacyRequest,
} = require("@modelcontextprotocol/server");
const { getRequestListener } = require("@hono/node-server");
const { serveStdio } = require("@modelcontextprotocol/server/stdio");
const { z } = require("zod");

const text = (value) => ({ content: [{ type: "text", text: value }] });
const contents = (uri, value) => ({ contents: [{ uri: uri.href, mimeType: "text/plain", text: value }] });

// The answer to one request, or undefined in the round that has to ask for it.
const answered = (ctx) => ctx.mcpReq.inputResponses?.only;
const needs = (request) => inputRequired({ inputRequests: { only: request } });

// The waits that were cut short.
let interrupted = 0;
// Tells the listeners of the modern era that the tools have changed.
let announce = () => {};

function build() {
  const app = new McpServer({ name: "interop", version: "1.0" }, { capabilities: { logging: {} } });
  const tool = (name, description, shape, handler) =>
    app.registerTool(name, { description, inputSchema: z.object(shape) }, handler);

  tool("add", "Add two numbers.", { a: z.number().int(), b: z.number().int() }, ({ a, b }) => text(String(a + b)));
  tool("echo", "Return the text.", { text: z.string() }, (args) => text(args.text));
  tool("slow", "Wait.", { seconds: z.number() }, async ({ seconds }, ctx) => {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      ctx.mcpReq.signal.addEventListener("abort", () => (clearTimeout(timer), interrupted++, resolve()));
    });
    return text("done");
  });
  tool("interrupted", "Tell how many waits were cut short since the last time that this was asked.", {}, () => {
    const count = interrupted;
    interrupted = 0;
    return text(String(count));
  });
  tool("touch", "Announce that the list of tools has changed.", {}, () => {
    app.sendToolListChanged();
    announce();
    return text("touched");
  });
  tool("fail", "Raise.", {}, () => {
    throw new Error("deliberate failure");
  });
  tool("progress", "Report progress.", { steps: z.number().int() }, async ({ steps }, ctx) => {
    for (let step = 1; step <= steps; step++) {
      const progressToken = ctx.mcpReq._meta.progressToken;
      const params = { progressToken, progress: step, total: steps, message: `step ${step}` };
      await ctx.mcpReq.notify({ method: "notifications/progress", params });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return text("done");
  });
  tool("poll", "Send the client away while working, and tell whether that could be done.", {}, async (_, ctx) => {
    ctx.http?.closeSSE?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
    return text(ctx.http?.closeSSE === undefined ? "open" : "closed");
  });
  tool("log", "Log a message to the client.", { message: z.string() }, async ({ message }, ctx) => {
    await ctx.mcpReq.log("info", message);
    return text("logged");
  });
  tool("ask", "Ask the user.", { question: z.string() }, ({ question }, ctx) => {
    const outcome = answered(ctx);
    const requestedSchema = z.object({ answer: z.string() });
    if (outcome === undefined) return needs(inputRequired.elicit({ message: question, requestedSchema }));
    return text(outcome.action === "accept" ? outcome.content.answer : outcome.action);
  });
  tool("sample", "Ask the client's model.", { prompt: z.string() }, ({ prompt }, ctx) => {
    const messages = [{ role: "user", content: { type: "text", text: prompt } }];
    const reply = answered(ctx);
    if (reply === undefined) return needs(inputRequired.createMessage({ messages, maxTokens: 100 }));
    return text(reply.content.text);
  });
  tool("roots", "Ask for the client's roots.", {}, (_, ctx) => {
    const found = answered(ctx);
    return found === undefined ? needs(inputRequired.listRoots()) : text(found.roots.map((root) => root.uri).join(" "));
  });
  app.registerResource("fixed", "info://fixed", { mimeType: "text/plain" }, (uri) => contents(uri, "fixed text"));
  app.registerResource(
    "note",
    new ResourceTemplate("note://{name}", { list: undefined }),
    { mimeType: "text/plain" },
    (uri, { name }) => contents(uri, `note about ${name}`),
  );
  const argsSchema = z.object({ code: z.string() });
  app.registerPrompt("review", { description: "Ask for a review.", argsSchema }, ({ code }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Please review: ${code}` } }],
  }));
  return app;
}

// The modern era needs no state; in the legacy era there is a server and a transport for each session.
const modern = createMcpHandler(build, { legacy: "reject" });
const sessions = new Map();
async function serve(request) {
  if (!(await isLegacyRequest(request))) return modern.fetch(request);
  const id = request.headers.get("mcp-session-id");
  if (id !== null) return sessions.get(id)?.handleRequest(request) ?? new Response(null, { status: 404 });
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: new Events(),
    retryInterval: 100,
    onsessioninitialized: (opened) => void sessions.set(opened, transport),
    onsessionclosed: (closed) => void sessions.delete(closed),
  });
  await build().connect(transport);
  return transport.handleRequest(request);
}

const port = process.argv[2];
if (port === undefined) {
  serveStdio(build);
} else {
  announce = () => modern.notify.toolsChanged();
  createServer(getRequestListener(serve)).listen(Number(port), "127.0.0.1");
}
