// Readers of an OpenPipe that read no more, and what becomes of what was meant for them.
#include <sys/wait.h>
#include <utility>

#include <green/log.hpp>
#include <green/sys.hpp>

#include "open_pipe_ends.hpp"

namespace greensup {
namespace {

/// Nobody has waited for it yet, so that its number is still its own.
bool has_ended(int pid) {
    siginfo_t info{};
    const auto asked =
        green::sys::waitid(P_PID, static_cast<id_t>(pid), info, WEXITED | WNOHANG | WNOWAIT);
    return !asked.ok() || info.si_pid == pid;
}

}  // namespace

void OpenPipe::tell_what_it_missed(int slot) const {
    const auto bytes = flow_.missed_by(slot);
    if (bytes == 0) return;
    green::log::warning("pipe.missed", {{"pipe", config_.name},
                                        {"pool", pipe_end(config_.to).worker},
                                        {"slot", slot},
                                        {"bytes_since_it_was_opened", bytes}});
}

void OpenPipe::tell_who_is_lost() {
    const auto before = flow_.lost();
    for (const auto& [number, reader] : readers_) note_read(*reader);
    auto lost = deaf_slots();
    lost.insert(sides_.reader_slots_failed.begin(), sides_.reader_slots_failed.end());
    flow_.set_over(sides_.reader_slots_done, std::move(lost));
    if (flow_.shape() != PipeShape::broadcast) return;
    bool any = false;
    for (int slot = 0; slot < flow_.readers(); ++slot)
        any = any || !(flow_.lost().contains(slot) || sides_.reader_slots_done.contains(slot));
    for (const auto slot : flow_.lost())
        if (!before.contains(slot))
            green::log::warning("pipe.lost",
                                {{"pipe", config_.name},
                                 {"pool", pipe_end(config_.to).worker},
                                 {"slot", slot},
                                 {"now", any ? "the others go on without it"
                                             : "nobody is left, and its writers wait"}});
    for (const auto slot : before)
        if (!flow_.lost().contains(slot)) tell_what_it_missed(slot);
}

/// It has closed its end, or is just dying. What was meant for it goes to whom it would go to then.
void OpenPipe::has_closed(Reader& reader) {
    const bool was_first = is_first(reader);
    reader.closed_at = green::now();
    reader.stands_since.reset();
    reader.watcher.reset();
    reader.hello.reset();
    if (was_first) give_back(reader);
    reader.ours.close();
    reader.theirs.close();
    if (!is_set(grace_)) grace_.start([this] { note_the_deaf(); });
}

void OpenPipe::note_the_deaf() {
    bool is_early = false;
    for (const auto& [number, reader] : readers_) {
        if (!reader->closed_at || reader->is_deaf) continue;
        // It leaves, and what was meant for it waits as for any other that does.
        if (reader->ending == Reader::Ending::soon) continue;
        const bool is_due = green::now() - *reader->closed_at >= patience_;
        // Whose end is being told will be removed in a moment.
        if (is_due && reader->pid != 0 && has_ended(reader->pid)) continue;
        is_early = is_early || !is_due;
        reader->is_deaf = is_due;
        if (is_due)
            green::log::warning("pipe.closed",
                                {{"pipe", config_.name},
                                 {"pool", pipe_end(config_.to).worker},
                                 {"slot", reader->slot},
                                 {"pid", reader->pid},
                                 {"why", "it has closed its end and lives on"},
                                 {"now", "what is meant for it is for those who still read"}});
    }
    tell_who_is_lost();
    look();
    if (is_early && !is_set(grace_)) grace_.start([this] { note_the_deaf(); });
}

/// Whose readers live and read no more, each of them.
std::set<int> OpenPipe::deaf_slots() const {
    std::set<int> slots;
    for (const auto& [number, reader] : readers_)
        if (reader->is_deaf) slots.insert(reader->slot);
    for (const auto& [number, reader] : readers_)
        if (!reader->closed_at) slots.erase(reader->slot);
    return slots;
}

}  // namespace greensup
