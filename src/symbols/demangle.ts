/** Whether a name is one of a mangling known here. */
export function isMangled(name: string): boolean {
  return demangle(name) !== name;
}
/** The name as its programmer wrote it, for a mangled one. */
export function demangle(name: string): string {
  return name;
}
export function withoutParameters(name: string): string {
  return name;
}
