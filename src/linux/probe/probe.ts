/** What a probe is. */
export interface ProbeSpec {
  /** A symbol, pattern, FILE:LINE, address, `sys_enter:NAME`, `sys_exit:NAME`, or event; see `probePlaces`. */
  readonly where: string;
  /** Only where this expression is not zero; asked by the plugin, without a stop. */
  readonly when?: string | undefined;
  /** Expressions whose values a hit has. Default: the function's parameters. */
  readonly print?: readonly string[] | undefined;
  /** Those that a return has, `$retval` among them, which is also the default. */
  readonly printOnReturn?: readonly string[] | undefined;
  /** Tell the returns of the function, or the system call's result, too. */
  readonly returns?: boolean | undefined;
}

/** A probe that was set. What is changed holds at once, in a handler too. */
export interface Probe {
  readonly spec: ProbeSpec;
  readonly enabled: boolean;
  enable(): void;
  /** Hits are passed over until {@link enable}. */
  disable(): void;
  /** For good. */
  remove(): void;
}
