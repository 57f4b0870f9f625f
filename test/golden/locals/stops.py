# Stops a program at random and writes down what GDB prints of every parameter and variable in scope, with the registers
# of the frame and its callers, and the memory they may lead to. Run by make.mjs; the variables in capitals are set there.
import gdb, json, random, base64, zlib
random.seed(SEED)
out=[]
N=STOPS
names='rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip'.split()
inf=gdb.selected_inferior()
tries=0
bps=[l for l in FUNCS]
while len(out)<N and tries<N*6:
    tries+=1
    try:
        b=gdb.Breakpoint(random.choice(bps), temporary=True); b.silent=True; b.ignore_count=random.randrange(0,4)
        gdb.execute('continue',to_string=True)
        for b in (gdb.breakpoints() or []): b.delete()
        gdb.execute('stepi %d'%random.randrange(0,60) if random.random()<.9 else 'nop', to_string=True)
    except gdb.error as e:
        if 'not being run' in str(e): break
    f=gdb.newest_frame()
    if not f.function() or not f.find_sal().symtab or f.pc()>0x500000: continue
    r={n:int(f.read_register(n))&(2**64-1) for n in names}
    for i in range(16): r['xmm%d'%i]=(lambda v:(int(v[0])&(2**64-1))|((int(v[1])&(2**64-1))<<64))(gdb.parse_and_eval('$xmm%d.v2_int64'%i))
    real=f
    while real.type()==gdb.INLINE_FRAME: real=real.older()
    gdb.execute('frame 0',to_string=True)
    info=gdb.execute('info frame',to_string=True)
    cfa=int(info.split('frame at ')[1].split(':')[0],16)
    vars=[]; seen=set(); blk=f.block()
    while blk:
        for s in blk:
            if (s.is_variable or s.is_argument) and s.name not in seen:
                seen.add(s.name)
                try: v=gdb.execute('print '+s.name,to_string=True).split(' = ',1)[1].rstrip('\n')
                except gdb.error as e: v='ERROR '+str(e)
                vars.append([s.name,v,bool(s.is_argument)])
        if blk.function: break
        blk=blk.superblock
    sp=r['rsp']
    maps=[]
    for l in open('/proc/%d/maps'%inf.pid):
        a=l.split(); lo,hi=[int(x,16) for x in a[0].split('-')]
        if '[stack]' in l: maps.append([hex(sp-128), base64.b64encode(zlib.compress(bytes(inf.read_memory(sp-128,min(hi-sp,1472)+128)))).decode()])
        if '[heap]' in l or ('rw' in a[1] and EXE in l): maps.append([hex(lo), base64.b64encode(zlib.compress(bytes(inf.read_memory(lo,min(hi-lo,12288))))).decode()])
    callers=[]; g=real.older()
    while g is not None and len(callers)<8:
        if g.type()==gdb.INLINE_FRAME: g=g.older(); continue
        cr={}
        for n in names:
            try:
                v=g.read_register(n)
                if not v.is_optimized_out: cr[n]=hex(int(v)&(2**64-1))
            except Exception: pass
        g.select(); inf2=gdb.execute('info frame',to_string=True)
        callers.append(dict(pc=hex(g.pc()),registers=cr,cfa=hex(int(inf2.split('frame at ')[1].split(':')[0],16))))
        g=g.older()
    f.select()
    out.append(dict(callers=callers,pc=hex(r['rip']),function=f.name(),registers={k:hex(v) for k,v in r.items()},cfa=hex(cfa),variables=vars,memory=maps))
json.dump(out,open(OUT,'w'))
print(len(out),'stops', sum(len(o['variables']) for o in out),'values')
