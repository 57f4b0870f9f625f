/**
 * A QEMU CPU model as a tape keeps it: a name, then features with a sign, e.g. `qemu64,+rdrand`. Nothing that could be
 * another option of QEMU's `-cpu`.
 */
export const cpuModelPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(,[+-][a-z0-9][a-z0-9._-]{0,31}){0,32}$/;
