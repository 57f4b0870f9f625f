import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  escapeBinary,
  framePacket,
  type Incoming,
  PacketReader,
  unescapeBinary,
} from "../../src/gdb/packet.js";

const readAll = (reader: PacketReader, ...chunks: (string | Uint8Array)[]): Incoming[] =>
  chunks.flatMap((chunk) => [
    ...reader.read(typeof chunk === "string" ? Buffer.from(chunk, "latin1") : chunk),
  ]);
const read = (...chunks: (string | Uint8Array)[]) => readAll(new PacketReader(100), ...chunks);

describe("reading packets", () => {
  test("finds packets, acknowledgements and interrupts", () => {
    expect(read("+$g#67-\x03$#00")).toEqual([
      { kind: "acknowledged" },
      { kind: "packet", body: "g" },
      { kind: "resend" },
      { kind: "interrupt" },
      { kind: "packet", body: "" },
    ]);
  });

  test("takes checksums in either case", () => {
    expect(read("$OK#9a", "$OK#9A").map(({ kind }) => kind)).toEqual(["packet", "packet"]);
  });

  test.each(["$g#68", "$g#6x", "$g#x7", "$g#  ", "$g#-1"])("%j is damaged", (text) => {
    expect(read(text)).toEqual([{ kind: "damaged", why: "checksum" }]);
  });

  test("a packet that is cut by the next one is damaged; the next one counts", () => {
    expect(read("$mffff$g#67")).toEqual([
      { kind: "damaged", why: "cut" },
      { kind: "packet", body: "g" },
    ]);
  });

  test("a body of the longest length is read, a longer one is damaged at its end", () => {
    const longest = "x".repeat(100);
    expect(read(framePacket(longest))).toEqual([{ kind: "packet", body: longest }]);
    expect(read(framePacket(`${longest}x`), "$g#67")).toEqual([
      { kind: "damaged", why: "too long" },
      { kind: "packet", body: "g" },
    ]);
  });

  test("an interrupt inside a body is a part of it", () => {
    expect(read("$a\x03b#c6")).toEqual([{ kind: "packet", body: "a\x03b" }]);
  });

  test("stray bytes are told one by one", () => {
    expect(read("GET")).toEqual([{ kind: "junk" }, { kind: "junk" }, { kind: "junk" }]);
  });

  test("property: packets come whole however the bytes are cut", () => {
    const body = fc.uint8Array({ maxLength: 100 }).map((bytes) => escapeBinary(bytes).slice(0, 100));
    fc.assert(
      fc.property(fc.array(body, { maxLength: 5 }), fc.array(fc.nat(20)), (bodies, cuts) => {
        const bytes = Buffer.concat(bodies.map(framePacket));
        const chunks: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(at, at + cut));
          at += cut;
        }
        chunks.push(bytes.subarray(at));
        expect(read(...chunks)).toEqual(bodies.map((body) => ({ kind: "packet", body })));
      }),
    );
  });

  test("property: whatever comes, a good packet behind it is found", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
        const reader = new PacketReader(100);
        readAll(reader, noise);
        // At most a checksum is still open; the second of two packets is never lost.
        expect(readAll(reader, "$g#67$g#67").at(-1)).toEqual({ kind: "packet", body: "g" });
      }),
    );
  });
});

describe("writing", () => {
  test("a checksum is the sum of the body's bytes", () => {
    expect(framePacket("OK").toString("latin1")).toBe("$OK#9a");
    expect(framePacket("\xff\xff").toString("latin1")).toBe("$\xff\xff#fe");
  });

  test("property: escaped binary has no byte with a meaning, and comes back", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const text = escapeBinary(bytes);
        expect(text).not.toMatch(/[#$*]/);
        expect([...unescapeBinary(text)]).toEqual([...bytes]);
      }),
    );
  });
});
