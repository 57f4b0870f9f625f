import { describe, expect, test } from "vitest";
import { callEvents } from "../../src/trace/calls.js";
import { DrawnFunctions, drawing, drawnBatch, drawnCalls } from "./call-trace-text.js";

function expectCalls(trace: string, tree: string, options = {}): void {
  expect(drawnCalls(trace, options)).toBe(drawing(tree));
}

describe("the call tree", () => {
  test("of calls and returns, conditionals within functions left out", () => {
    expectCalls(
      `main+16 call foo
       foo+8   cond foo+40
       foo+44  call bar
       bar+4   ret  foo+49
       foo+60  ret  main+21
       main+30 icall bar
       bar+4   ret  main+32`,
      `
      call foo  from main+16
        call bar  from foo+44
        return foo+49  from bar+4
      return main+21  from foo+60
      call bar  from main+30
      return main+32  from bar+4`,
    );
  });

  test("of functions entered before the trace began", () => {
    expectCalls(
      `bar+9   ret  foo+21
       foo+30  call bar
       bar+9   ret  foo+35
       foo+40  ret  main+12`,
      `
      return foo+21  from bar+9  ? entered before the trace
      call bar  from foo+30
      return foo+35  from bar+9
      return main+12  from foo+40  ? entered before the trace`,
    );
  });

  test("of tail calls: the function jumped to returns for both", () => {
    expectCalls(
      `main+16 call foo
       foo+8   jmp  bar
       bar+4   cond baz
       baz+4   ret  main+21`,
      `
      call foo  from main+16
      tail call bar  from foo+8
      tail call baz  from bar+4
      return main+21  from baz+4`,
    );
  });

  test("of a part the compiler moved out of line, which is no other function", () => {
    expectCalls(
      `main+16     call foo
       foo+8       cond foo.cold
       foo.cold+9  jmp  foo+30
       foo+40      ret  main+21`,
      `
      call foo  from main+16
      return main+21  from foo+40`,
    );
  });

  test("of a return over several levels, and of a longjmp", () => {
    expectCalls(
      `main+16 call foo
       foo+8   call bar
       bar+8   call baz
       baz+8   ret  foo+13
       foo+20  call bar
       bar+8   call longjmp
       longjmp+30 ijmp main+60
       main+70 call foo`,
      `
      call foo  from main+16
        call bar  from foo+8
          call baz  from bar+8
        return foo+13  from baz+8  ? several levels at once: 2
        call bar  from foo+20
          call longjmp  from bar+8
            jump main+60  from longjmp+30  ? leaves the function
            call foo  from main+70`,
    );
    expectCalls(
      `start+4 call main
       main+16 call foo
       foo+20  call longjmp
       longjmp+30 ijmp main+60
       main+70 ret start+9`,
      `
      call main  from start+4
        call foo  from main+16
          call longjmp  from foo+20
        return main+60  from longjmp+30  ? several levels at once: 2
      return start+9  from main+70`,
    );
  });

  test("of interrupts, exceptions and system calls, nested", () => {
    expectCalls(
      `u_main+16 call u_foo
       u_foo+8   sys  entry
       entry+20  call do_syscall
       do_syscall+9 int irq
       irq+8     call tick
       tick+3    exc  fault
       fault+40  iret tick+3
       tick+9    ret  irq+13
       irq+60    iret do_syscall+9
       do_syscall+30 ret entry+25
       entry+90  sysret u_foo+10
       u_foo+20  exc  fault
       fault+40  iret u_foo+20
       u_foo+33  ret u_main+21`,
      `
      call u_foo  from u_main+16
        enter entry  from u_foo+8
          call do_syscall  from entry+20
            enter irq  from do_syscall+9
              call tick  from irq+8
                enter fault  from tick+3
                leave tick+3  from fault+40
              return irq+13  from tick+9
            leave do_syscall+9  from irq+60
          return entry+25  from do_syscall+30
        leave u_foo+10  from entry+90
        enter fault  from u_foo+20
        leave u_foo+20  from fault+40
      return u_main+21  from u_foo+33`,
    );
  });

  test("of an iret that only serializes the processor", () => {
    expectCalls(
      `main+16 call sync
       sync+20 iret sync+22
       sync+30 ret  main+21`,
      `
      call sync  from main+16
      return main+21  from sync+30`,
    );
  });

  test("of a fault in the kernel that is mended elsewhere", () => {
    expectCalls(
      `main+16 call copy
       copy+8  exc  fault
       fault+9 iret copy+90
       copy+99 ret  main+21`,
      `
      call copy  from main+16
        enter fault  from copy+8
        leave copy+90  from fault+9  ? not where it was entered from
      return main+21  from copy+99`,
    );
  });

  test("of a signal: the handler runs above what was interrupted, and comes back to it", () => {
    expectCalls(
      `u_main+16 call u_foo
       u_foo+8   int irq
       irq+9     iret u_handler
       u_handler+9 call u_bar
       u_bar+9   ret u_handler+14
       u_handler+30 ret u_restore
       u_restore+7 sys entry
       entry+40  iret u_foo+8
       u_foo+12  ret u_main+21`,
      `
      call u_foo  from u_main+16
        enter irq  from u_foo+8
          leave u_handler  from irq+9  ? not where it was entered from
          call u_bar  from u_handler+9
          return u_handler+14  from u_bar+9
          return u_restore  from u_handler+30  ? not where it was entered from
          enter entry  from u_restore+7
        leave u_foo+8  from entry+40
      return u_main+21  from u_foo+12`,
    );
  });

  test("of calls a few bytes ahead: position-independent code and retpolines", () => {
    expectCalls(
      `main+16  call foo
       foo+10   call foo+15
       foo+40   call thunk
       thunk+1  call thunk+13
       thunk+17 ret  bar
       bar+5    ret  foo+45
       foo+50   ret  main+21`,
      `
      call foo  from main+16
        call thunk  from foo+40
        tail call bar  from thunk+17
        return foo+45  from bar+5
      return main+21  from foo+50`,
    );
  });

  test("of calls through a thunk, as calls of what they lead to", () => {
    expectCalls(
      `main+16  call __x86_indirect_thunk_rax
       __x86_indirect_thunk_rax+1 ijmp foo
       foo+5    jmp  __x86_indirect_thunk_r8
       __x86_indirect_thunk_r8+1 call __x86_indirect_thunk_r8+13
       __x86_indirect_thunk_r8+17 ret bar
       bar+9    jmp  __x86_return_thunk
       __x86_return_thunk+1 ret main+21`,
      `
      call foo  from main+16
      tail call bar  from foo+5
      return main+21  from __x86_return_thunk+1`,
    );
  });

  test("of a local subroutine within a function", () => {
    expectCalls(
      `main+16 call foo
       foo+10  call foo+24
       foo+30  ret  foo+15
       foo+40  ret  main+21`,
      `
      call foo  from main+16
      return main+21  from foo+40`,
    );
  });

  test("of two tasks that take turns", () => {
    expectCalls(
      `a+16  call schedule
       schedule+30 call __switch_to_asm
       __switch_to_asm+40 jmp __switch_to
       __switch_to+90 ret ret_from_fork
       ret_from_fork+8 icall b
       b+16 call schedule
       schedule+30 call __switch_to_asm
       __switch_to_asm+40 jmp __switch_to
       __switch_to+90 ret schedule+35
       schedule+60 ret a+21
       a+40 call schedule
       schedule+30 call __switch_to_asm
       __switch_to_asm+40 jmp __switch_to
       __switch_to+90 ret schedule+35
       schedule+40 call finish
       finish+9 ret schedule+45
       schedule+60 ret b+21
       b+50 ret ret_from_fork+10`,
      `
      call schedule  from a+16
        call __switch_to_asm  from schedule+30
        tail call __switch_to  from __switch_to_asm+40
      return ret_from_fork  from __switch_to+90  ? a stack not seen before
      call b  from ret_from_fork+8
        call schedule  from b+16
          call __switch_to_asm  from schedule+30
          tail call __switch_to  from __switch_to_asm+40
          return schedule+35  from __switch_to+90
      return a+21  from schedule+60  ? goes on on another stack
      call schedule  from a+40
        call __switch_to_asm  from schedule+30
        tail call __switch_to  from __switch_to_asm+40
        return schedule+35  from __switch_to+90
        call finish  from schedule+40  ? which task is open
        return schedule+45  from finish+9  ? which task is open
        return b+21  from schedule+60  ? goes on on another stack
      return ret_from_fork+10  from b+50`,
    );
  });

  test("without names, too: by where returns go", () => {
    expectCalls(
      `main+16 call foo
       foo+8   jmp  bar
       bar+8   call baz
       baz+8   ret  bar+13
       bar+20  ret  main+21
       main+30 ret  start+9`,
      `
      call foo  from main+16
        call baz  from bar+8
        return bar+13  from baz+8
      return main+21  from bar+20
      return start+9  from main+30  ? entered before the trace`,
      { names: false },
    );
  });

  test("of a trace whose file tells no kinds", () => {
    expectCalls(
      `main+16 unknown foo
       foo+8   unknown foo+40
       foo+44  unknown bar
       bar+4   unknown foo+49
       foo+60  unknown baz+30
       baz+60  unknown main+21`,
      `
      call foo  from main+16
        call bar  from foo+44
        return foo+49  from bar+4
        jump baz+30  from foo+60  ? leaves the function
      return main+21  from baz+60`,
    );
  });

  test("of endless recursion keeps counting in bounded memory", () => {
    const down = Array.from({ length: 100 }, () => "foo+20 call foo").join("\n");
    const up = Array.from({ length: 4 }, () => "foo+40 ret foo+25").join("\n");
    const lines = drawnCalls(`${down}\n${up}`, { mostFrames: 16 }).split("\n");
    expect(lines[99]).toBe(`${"  ".repeat(99)}call foo  from foo+20`);
    expect(lines.at(-1)).toBe(`${"  ".repeat(96)}return foo+25  from foo+40`);
  });
});

test("the same events one after another, each an object that stays what it is", async () => {
  const names = new DrawnFunctions();
  const text = `main+16 call foo
    foo+8   call bar
    bar+4   ret  foo+13
    foo+60  ret  main+21`;
  const batch = drawnBatch(text, names);
  const reader = {
    async *batches() {
      yield batch;
      yield batch;
    },
  };
  const seen = [];
  for await (const event of callEvents(reader, { names })) seen.push(event);
  expect(seen.map(({ type, depth }) => `${type} ${depth}`)).toEqual(
    Array(2).fill(["call 0", "call 1", "return 1", "return 0"]).flat(),
  );
  expect(seen.map(({ to }) => names.write(to))).toEqual(
    Array(2).fill(["foo", "bar", "foo+13", "main+21"]).flat(),
  );
});
