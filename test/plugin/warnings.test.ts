import { expect, test } from "vitest";
import { compilers, lint } from "./compile.js";

// The plugins' sources, for both plugin APIs; gcc's analyzer: test/long/plugin.test.ts.
test.each(compilers.flatMap((compiler) => [1, 2].map((api) => [compiler, api] as const)))(
  "%s has nothing to say of the plugins for API %d",
  async (compiler, api) => {
    expect(await lint(compiler, api)).toBe("");
  },
  120_000,
);
