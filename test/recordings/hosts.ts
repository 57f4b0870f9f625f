/** The host's side of recordings with a network: servers and clients on loopback, each bounded in count and time. */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { request } from "node:http";
import { createServer, type Server } from "node:net";

/** A TCP port of loopback that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Servers for guests that are clients. */
export interface Hosts extends AsyncDisposable {
  /** Answers every HTTP request with {@link pageBytes} bytes. */
  readonly http: number;
  /** Takes whatever is sent, and answers with its length when the sender is done. */
  readonly sink: number;
  /** Serves {@link pageBytes} bytes by TFTP (RFC 1350), over UDP. */
  readonly tftp: number;
}

export const pageBytes = 1 << 18;
const page = Buffer.alloc(pageBytes, "0123456789abcdef");

export async function startHosts(): Promise<Hosts> {
  const http = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.write(`HTTP/1.0 200 OK\r\nContent-Length: ${page.length}\r\n\r\n`);
      socket.end(page);
    });
  });
  const sink = createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0;
    socket.on("error", () => {});
    socket.on("data", (data) => {
      bytes += data.length;
    });
    socket.on("end", () => socket.end(`${bytes}\n`));
  });
  const tftp = createSocket("udp4");
  serveTftp(tftp);
  const [httpPort, sinkPort] = await Promise.all([listen(http), listen(sink)]);
  await new Promise<void>((resolve) => tftp.bind(0, "127.0.0.1", resolve));
  return {
    http: httpPort,
    sink: sinkPort,
    tftp: tftp.address().port,
    [Symbol.asyncDispose]: async () => {
      http.close();
      sink.close();
      tftp.close();
    },
  };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}

/** Read requests, and acknowledgements of blocks of 512 bytes; each is answered from the same port. */
function serveTftp(socket: UdpSocket): void {
  const block = (number: number) => {
    const head = Buffer.from([0, 3, number >> 8, number & 0xff]);
    return Buffer.concat([head, page.subarray((number - 1) * 512, number * 512)]);
  };
  socket.on("message", (message, from) => {
    const kind = message.readUInt16BE(0);
    const number = kind === 1 ? 0 : message.readUInt16BE(2);
    if ((kind === 1 || kind === 4) && number * 512 <= page.length)
      socket.send(block(number + 1), from.port, from.address);
  });
}

/**
 * Fetches a page from a server in the guest, `times` times, each over a new connection. Returns how often it arrived
 * completely.
 */
export async function fetchMany(port: number, path: string, times: number): Promise<number> {
  let whole = 0;
  for (let i = 0; i < times; i++) if ((await fetchOnce(port, path)) > 0) whole++;
  return whole;
}

/** The number of bytes of the body; 0 when it did not arrive. */
export function fetchOnce(port: number, path: string): Promise<number> {
  return new Promise((resolve) => {
    const asked = request({ host: "127.0.0.1", port, path, agent: false, timeout: 60_000 }, (response) => {
      let bytes = 0;
      response.on("data", (data: Buffer) => {
        bytes += data.length;
      });
      response.on("end", () => resolve(bytes));
      response.on("error", () => resolve(0));
    });
    asked.on("error", () => resolve(0));
    asked.on("timeout", () => asked.destroy());
    asked.end();
  });
}
