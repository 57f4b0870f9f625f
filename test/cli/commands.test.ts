import { expect, test } from "vitest";
import { commands } from "../../src/cli/commands.js";

test.each(commands)(
  "the list of commands says of $name what it says of itself",
  async ({ name, usage, summary, load }) => {
    const command = await load();
    const words = command.registeredArguments.map((argument) => {
      const word = `${argument.name()}${argument.variadic ? "..." : ""}`;
      return argument.required ? `<${word}>` : `[${word}]`;
    });
    expect(command.name()).toBe(name);
    expect(command.description()).toBe(summary);
    expect([...(command.options.length > 0 ? ["[options]"] : []), ...words].join(" ")).toBe(usage);
  },
);

test("no two have the same name", () => {
  expect(new Set(commands.map(({ name }) => name)).size).toBe(commands.length);
});
