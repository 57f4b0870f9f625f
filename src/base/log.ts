/** Where debug lines go. The library never prints: a caller that wants them passes a sink. */
export type DebugSink = (line: string) => void;

/** The sink that drops everything. */
export const silent: DebugSink = () => {};
