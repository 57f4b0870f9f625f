/** The name as its programmer wrote it, for a mangled one. */
export function demangle(name: string): string {
  return name;
}
