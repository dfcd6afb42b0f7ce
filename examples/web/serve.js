/**
 * Serves the page and the packages that it imports, as files: `node serve.js [PORT]`. There is no build step, because
 * browsers load modules themselves; an app of your own would use a bundler.
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, normalize, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const PORT = 5173;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".json": "application/json" };

/** The file behind a path of the page, or undefined. Only the page and the packages are served. */
function find(path, modules) {
  if (path === "/" || path === "/index.html") return join(here, "index.html");
  const prefix = "/node_modules/";
  if (!path.startsWith(prefix)) return undefined;
  const file = normalize(join(modules, path.slice(prefix.length)));
  return file.startsWith(modules + sep) ? file : undefined;
}

/** Serves the page to this machine. Returns its origin, and a function that stops it. */
export async function serve(port = PORT, modules = join(here, "node_modules")) {
  const folder = resolve(modules);
  const server = createServer(async (request, response) => {
    try {
      const { pathname } = new URL(request.url, "http://page");
      const file = find(decodeURIComponent(pathname), folder);
      if (file === undefined || !(await stat(file)).isFile()) throw new Error("no such file");
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
      createReadStream(file).pipe(response);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening, failed) => {
    server.once("error", failed).listen(port, "127.0.0.1", listening);
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    origin,
    close: () => {
      server.closeAllConnections();
      return new Promise((closed) => server.close(closed));
    },
  };
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { origin } = await serve(process.argv[2] === undefined ? PORT : Number(process.argv[2]));
  console.log(`the page is at ${origin}; its backend must allow that origin:`);
  console.log(`  replicate-backend --allow-origin ${origin} --data FOLDER`);
}
