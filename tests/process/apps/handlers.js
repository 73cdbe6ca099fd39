// Handlers in Node, which knows no realtime signals: SIGUSR2 before the snapshot, SIGHUP after the restore.
const fs = require('fs')
const path = require('path')

const pipe = path.join(path.dirname(process.env.SNAPEXT_SOCKET), 'done')

function say(phase) {
  const line = { pid: process.pid, phase, hook: phase, at_ns: Number(process.hrtime.bigint()) }
  fs.appendFileSync(process.env.TRACE_FILE, JSON.stringify(line) + '\n')
}

for (const [signal, phase] of [['SIGUSR2', 'before_snapshot'], ['SIGHUP', 'after_restore']]) {
  process.on(signal, () => {
    say(phase)
    fs.appendFileSync(pipe, process.pid + '\n')
  })
}
setInterval(() => {}, 60000)
say('up')
