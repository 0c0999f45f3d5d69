// Longer than most files: the way of a message from one end to the other, in the order of its
// steps.
#include "open_pipe.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <system_error>

#include <green/log.hpp>
#include <green/sys.hpp>

#include "frames/frame_header.hpp"
#include "open_pipe_ends.hpp"
#include "units.hpp"

namespace greensup {
namespace {

namespace sys = green::sys;
using green::IoEvents;
using green::IoWatcher;

/// What it has not read would be lost to its successor if it died with our only end closed.
void log_kept_open(const PipeConfig& pipe, int slot, int error) {
    green::log::warning(
        "pipe.kept_open",
        {{"pipe", pipe.name},
         {"pool", pipe_end(pipe.to).worker},
         {"slot", slot},
         {"why", "its other end cannot be opened in /proc/self/fd"},
         {"error", std::strerror(error)},
         {"now", "its input ends when it has read everything, or a descriptor is free"}});
}

}  // namespace

OpenPipe::OpenPipe(const PipeConfig& config, int readers, std::chrono::nanoseconds grace,
                   std::chrono::nanoseconds glance)
    : config_{config}, patience_{grace}, glance_{glance} {
    flow_.configure(config.shape, cut_of(config), readers);
}

OpenPipe::~OpenPipe() {
    for (const auto slot : flow_.lost()) tell_what_it_missed(slot);
    if (const auto left = figures().waiting; left > 0)
        green::log::warning("pipe.left", {{"pipe", config_.name}, {"bytes", left}});
}

void OpenPipe::apply(const PipeConfig& config, int readers) {
    config_ = config;
    for (const auto& [number, reader] : readers_) note_read(*reader);
    flow_.configure(config.shape, cut_of(config), readers);
    look();
}

std::uint64_t OpenPipe::largest_payload() const {
    return config_.capacity - green::ipc::FrameHeader::size;
}

// --- coming and going ---

/// Where one reads, and where one writes.
std::pair<green::Fd, green::Fd> OpenPipe::make_ends() const {
    int ends[2] = {-1, -1};
    const auto size = static_cast<int>(config_.capacity);
    if (cut() == Cut::frames) {
        (void)sys::must(sys::socketpair(AF_UNIX, SOCK_STREAM, ends), "a pipe");
        (void)sys::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        return {green::Fd{ends[0]}, green::Fd{ends[1]}};
    }
    (void)sys::must(sys::pipe2(ends), "a pipe");
    std::pair<green::Fd, green::Fd> both{green::Fd{ends[0]}, green::Fd{ends[1]}};
    // A user may have only so much of the kernel's memory in pipes; a small one works too.
    if (const auto set = sys::fcntl(ends[1], F_SETPIPE_SZ, size); !set.ok())
        green::log::warning("pipe.small", {{"pipe", config_.name},
                                           {"wanted", size_text(config_.capacity)},
                                           {"error", std::strerror(set.error)}});
    return both;
}

std::vector<const OpenPipe::Writer*> OpenPipe::left_behind(int slot) const {
    std::vector<const Writer*> dead;
    for (const auto& [number, writer] : writers_)
        if (writer->slot == slot && writer->is_gone) dead.push_back(writer.get());
    return dead;
}

bool OpenPipe::is_behind() const {
    return std::any_of(behind_.begin(), behind_.end(),
                       [&](int slot) { return left_behind(slot).size() >= most_left_behind; });
}

/// Each that died keeps its pipe until a reader has taken what is in it. Another one has to wait,
/// so that who dies for ever does not use up our descriptors, and nothing has to be thrown away.
void OpenPipe::refuse_if_behind(int slot) {
    const auto dead = left_behind(slot);
    if (dead.size() < most_left_behind) {
        behind_.erase(slot);
        return;
    }
    std::uint64_t bytes = 0;
    for (const auto* writer : dead) bytes += left_in(*writer);
    if (behind_.insert(slot).second)
        green::log::warning("pipe.behind",
                            {{"pipe", config_.name},
                             {"pool", pipe_end(config_.from).worker},
                             {"slot", slot},
                             {"writers_that_died", dead.size()},
                             {"bytes", bytes},
                             {"now", "no other starts until a reader has taken some"}});
    sys::fail(EAGAIN, "pipe " + config_.name + " has the rest of " + std::to_string(dead.size()) +
                          " writers that nobody has read");
}

int OpenPipe::add_writer(int slot, green::Fd& theirs) {
    refuse_if_behind(slot);
    auto [reading, writing] = make_ends();
    theirs = std::move(writing);
    const auto largest = static_cast<std::size_t>(config_.capacity);
    ++last_end_;
    writers_[last_end_] = std::make_unique<Writer>(
        Writer{last_end_, slot, FrameCutter{cut(), largest}, std::move(reading)});
    look();
    return last_end_;
}

int OpenPipe::add_reader(int slot, green::Fd& theirs) {
    auto [reading, writing] = make_ends();
    green::Fd kept;
    if (cut() == Cut::frames)
        kept = green::Fd{static_cast<int>(sys::must(sys::dup(reading.number()), "a pipe"))};
    theirs = std::move(reading);
    readers_[++last_end_] =
        std::make_unique<Reader>(Reader{slot, std::move(writing), std::move(kept)});
    flow_.reader_came(slot);
    tell_who_is_lost();
    look();
    return last_end_;
}

void OpenPipe::remove(int end, bool in_peace) {
    if (const auto writer = writers_.find(end); writer != writers_.end()) {
        writer->second->is_gone = true;
        // Others may have its end too, and write for ever.
        writer->second->left_behind = unread_in(writer->second->ours);
        writer->second->left_in_peace = in_peace;
    }
    if (const auto found = readers_.find(end); found != readers_.end()) {
        const bool was_first = is_first(*found->second);
        const auto reader = std::move(found->second);
        readers_.erase(found);
        if (was_first) give_back(*reader);
        tell_who_is_lost();
    }
    look();
}

/// What it has not read belongs to those who come after it.
void OpenPipe::give_back(const Reader& reader) {
    flow_.reader_left(reader.slot, take_back(reader));
    for (const auto& [number, other] : readers_)
        if (other->slot == reader.slot && !other->closed_at) flow_.reader_came(reader.slot);
}

/// Of a socket it is taken out: else who has a copy of that end would read it too. (Where programs
/// read lines, who has a copy is often whom the lines are for, a shell's child.)
std::size_t OpenPipe::take_back(const Reader& reader) {
    if (cut() != Cut::frames) return unread_by(reader);
    std::size_t taken = 0;
    for (;;) {
        const auto got =
            sys::recv(reader.theirs.number(), portion_.data(), portion_.size(), MSG_DONTWAIT);
        if (!got.ok() || got.value == 0) break;
        taken += got.as_size();
    }
    return taken + unread_by(reader);
}

void OpenPipe::belongs_to(int end, int pid) {
    if (const auto reader = readers_.find(end); reader != readers_.end()) reader->second->pid = pid;
    if (const auto writer = writers_.find(end); writer != writers_.end()) writer->second->pid = pid;
}

bool OpenPipe::end_input(int end, bool has_successor) {
    const auto found = readers_.find(end);
    if (found == readers_.end()) return false;
    auto& reader = *found->second;
    reader.ending =
        has_successor || others_go_on(reader) ? Reader::Ending::soon : Reader::Ending::dry;
    if (reader.closed_at) return false;
    look();
    return true;
}

/// Where several do the same work, or hear the same, one may leave while the others go on.
bool OpenPipe::others_go_on(const Reader& reader) const {
    if (flow_.shape() != PipeShape::spread && flow_.shape() != PipeShape::broadcast) return false;
    return !writers_.empty() &&
           std::any_of(readers_.begin(), readers_.end(), [&](const auto& entry) {
               const auto& other = *entry.second;
               return other.slot != reader.slot && !other.closed_at &&
                      other.ending == Reader::Ending::none;
           });
}

void OpenPipe::tell(PipeSides sides) {
    if (sides == sides_) return;
    sides_ = std::move(sides);
    tell_who_is_lost();
    look();
}

// --- going on ---

void OpenPipe::look() {
    // Who has been sent more makes room for a writer that is gone, of whom nobody tells us more.
    // Others are read once in a turn of the hub, or when it tells of them.
    bool may_read = true;
    for (bool goes_on = true; goes_on;) {
        goes_on = false;
        // Who was read last comes last: else the first one would always take all the room.
        std::vector<int> order;
        for (auto it = writers_.upper_bound(last_read_); it != writers_.end(); ++it)
            order.push_back(it->first);
        for (auto it = writers_.begin(); it != writers_.upper_bound(last_read_); ++it)
            order.push_back(it->first);
        for (const auto number : order) {
            const auto it = writers_.find(number);
            if (!serve(*it->second, may_read)) continue;
            counted_.torn += it->second->cutter.torn();
            counted_.refused += it->second->cutter.refused();
            writers_.erase(it);
            goes_on = true;
        }
        may_read = false;
        (void)flow_.pass_on();
        for (const auto& [number, reader] : readers_) {
            const auto before = counted_.passed;
            const auto was_closed = reader->closed_at;
            serve(*reader);
            goes_on = goes_on || counted_.passed != before || reader->closed_at != was_closed;
        }
    }
    glance_later();
}

bool OpenPipe::serve(Writer& writer, bool may_read) {
    // Who has left nothing need not wait for room.
    if (writer.is_gone && left_in(writer) == 0) return true;
    while (is_first(writer) && hand_over(writer)) {
        const bool may_have_more = std::exchange(writer.was_stopped, false) && may_read;
        if (!writer.is_gone && !may_have_more) {
            writer.stands_since.reset();
            watch(writer, !writer.is_at_end);
            return false;
        }
        if (read(writer) || !writer.is_gone) continue;
        if (writer.is_finished && writer.whole.empty()) return true;
        if (!writer.is_finished) writer.cutter.finish(writer.left_in_peace, writer.whole);
        writer.is_finished = true;
    }
    writer.was_stopped = true;
    watch(writer, false);
    return false;
}

/// Returns whether there is room for more.
bool OpenPipe::hand_over(Writer& writer) {
    if (!flow_.has_room(writer.slot)) return false;
    if (writer.whole.empty()) return true;
    if (!may_carry(writer.cutter.hello())) {
        if (!std::exchange(writer.was_held, true))
            green::log::warning("pipe.held",
                                {{"pipe", config_.name},
                                 {"pool", pipe_end(config_.from).worker},
                                 {"slot", writer.slot},
                                 {"pid", writer.pid},
                                 {"why", "it sends another type than the one before it"},
                                 {"until", "the reader is replaced"}});
        return false;
    }
    hello_ = writer.cutter.hello();
    flow_.put(writer.slot, std::exchange(writer.whole, {}));
    writer.stands_since.reset();
    return flow_.has_room(writer.slot);
}

/// Returns false when there is nothing to read, now or for ever.
bool OpenPipe::read(Writer& writer) {
    if (writer.is_at_end) return false;
    const auto most =
        writer.is_gone ? std::min(portion_.size(), writer.left_behind) : portion_.size();
    const auto got = sys::read(writer.ours.number(), portion_.data(), most);
    if (got.would_block()) return false;
    writer.is_at_end = !got.ok() || got.value == 0;
    if (writer.is_at_end) return false;
    if (writer.is_gone) writer.left_behind -= got.as_size();
    last_read_ = writer.number;
    writer.taken += got.as_size();
    writer.stands_since.reset();
    writer.cutter.take({portion_.data(), got.as_size()}, writer.whole);
    if (!writer.cutter.is_broken()) return true;
    green::log::error("pipe.broken", {{"pipe", config_.name},
                                      {"pool", pipe_end(config_.from).worker},
                                      {"slot", writer.slot},
                                      {"pid", writer.pid},
                                      {"why", "what it writes is no message"},
                                      {"now", "its end is closed"}});
    writer.is_at_end = true;
    watch(writer, false);
    writer.ours.close();
    return false;
}

void OpenPipe::serve(Reader& reader) {
    if (!reader.ours.is_open()) return;
    if (!is_first(reader)) {
        // Nothing was sent to it, and what is there it leaves to others.
        if (reader.ending == Reader::Ending::soon) let_go(reader);
        if (reader.ours.is_open()) watch(reader, false);
        return;
    }
    // Who was told of a type keeps the next one waiting.
    if (!reader.hello && hello_ && flow_.outlet(reader.slot).unsent() > 0) reader.hello = hello_;
    while (write(reader)) {
    }
    if (!reader.ours.is_open() || flow_.outlet(reader.slot).due(cut()) > 0) return;
    const bool is_through =
        reader.ending == Reader::Ending::soon ||
        ((reader.ending == Reader::Ending::dry || is_over(reader.slot)) && is_dry(reader.slot));
    if (is_through) let_go(reader);
}

/// Its input ends.
void OpenPipe::let_go(Reader& reader) {
    // Of one that has read everything nothing has to be kept.
    if (!reader.theirs.is_open() && unread_in(reader.ours) > 0) {
        const auto path = "/proc/self/fd/" + std::to_string(reader.ours.number());
        const auto opened = sys::open(path.c_str(), O_RDONLY | O_NONBLOCK);
        if (!opened.ok()) {
            if (!std::exchange(reader.is_kept_open, true))
                log_kept_open(config_, reader.slot, opened.error);
            if (!is_set(later_)) later_.start([this] { look(); });
            return;
        }
        reader.theirs = green::Fd{opened.as_int()};
    }
    reader.watcher.reset();
    reader.ours.close();
}

// --- step by step ---

/// Returns whether there may be more to send at once.
bool OpenPipe::write(Reader& reader) {
    auto& outlet = flow_.outlet(reader.slot);
    const bool is_greeting = reader.hello && !reader.hello->empty();
    auto text = is_greeting ? std::string_view{*reader.hello} : outlet.to_send();
    if (reader.ending == Reader::Ending::soon && !is_greeting)
        text = text.substr(0, outlet.due(cut()));
    if (text.empty()) {
        watch(reader, false);
        return false;
    }
    const auto sent = sys::write(reader.ours.number(), text.data(), text.size());
    if (sent.would_block()) {
        watch(reader, true);
        return false;
    }
    if (!sent.ok()) {
        has_closed(reader);
        return false;
    }
    counted_.passed += sent.as_size();
    reader.sent += sent.as_size();
    if (is_greeting) {
        reader.hello->erase(0, sent.as_size());
        return true;
    }
    outlet.sent(sent.as_size());
    note_read(reader);
    return true;
}

std::size_t OpenPipe::unread_by(const Reader& reader) {
    return unread_in(reader.theirs.is_open() ? reader.theirs : reader.ours);
}

void OpenPipe::note_read(Reader& reader) {
    if (!is_first(reader)) return;
    const auto unread = unread_by(reader);
    auto& outlet = flow_.outlet(reader.slot);
    outlet.unread(cut(), unread);
    const auto has_read = reader.sent - std::min<std::uint64_t>(unread, reader.sent);
    const bool goes_on = std::exchange(reader.has_read, has_read) != has_read;
    if (outlet.size() == 0)
        reader.stands_since.reset();
    else if (goes_on || !reader.stands_since)
        reader.stands_since = green::now();
}

void OpenPipe::watch(Writer& writer, bool on) {
    if (!on) return writer.watcher.reset();
    if (writer.watcher) return;
    start(writer.watcher, writer.ours.number(), IoEvents::read, [this, &writer] {
        (void)read(writer);
        look();
    });
}

/// For room, and for its closing: of a pipe that is an event of any kind; of a socket, of which
/// we have its end too, an end that it tells.
void OpenPipe::watch(Reader& reader, bool on) {
    if (reader.watcher && reader.watches_room == on) return;
    reader.watcher.reset();
    reader.watches_room = on;
    const bool is_pipe = cut() != Cut::frames;
    const auto events = !on ? IoEvents::read : is_pipe ? IoEvents::write : IoEvents::read_write;
    start(reader.watcher, reader.ours.number(), events, [this, &reader, on, is_pipe] {
        if (is_pipe ? !on : tells_its_end(reader)) has_closed(reader);
        look();
    });
}

/// It has nothing else to say, and we keep no mind of it.
bool OpenPipe::tells_its_end(const Reader& reader) {
    const auto got = sys::read(reader.ours.number(), portion_.data(), portion_.size());
    return got.ok() ? got.value == 0 : !got.would_block();
}

/// The kernel watches only so much for one user. The other ends go on meanwhile.
void OpenPipe::start(std::unique_ptr<IoWatcher>& watcher, int fd, IoEvents events,
                     std::function<void()> callback) {
    try {
        watcher = std::make_unique<IoWatcher>(fd, events);
        watcher->start(std::move(callback));
    } catch (const std::system_error& error) {
        watcher.reset();
        try_again(error.code().value());
    }
}

void OpenPipe::try_again(int error) {
    if (is_set(later_)) return;
    green::log::warning("pipe.unwatched",
                        {{"pipe", config_.name}, {"error", std::strerror(error)}});
    later_.start([this] { look(); });
}

// --- who is meant ---

/// One type after the other: nobody who has heard of one is given another one.
bool OpenPipe::may_carry(const std::string& hello) {
    if (!hello_ || *hello_ == hello) return true;
    for (const auto& [number, reader] : readers_)
        if (reader->hello) return false;
    return flow_.waiting() == 0;
}

bool OpenPipe::is_first(const Writer& writer) const {
    for (const auto& [number, other] : writers_)
        if (other->slot == writer.slot) return other.get() == &writer;
    return false;
}

bool OpenPipe::is_first(const Reader& reader) const {
    for (const auto& [number, other] : readers_)
        if (other->slot == reader.slot && !other->closed_at) return other.get() == &reader;
    return false;
}

bool OpenPipe::is_over(int slot) const {
    return sides_.writers_over ||
           (flow_.shape() == PipeShape::pair && sides_.writer_slots_over.contains(slot));
}

bool OpenPipe::is_dry(int slot) {
    for (const auto& [number, writer] : writers_)
        if (flow_.feeds(writer->slot, slot)) return false;
    // What waits for a reader that is away is still to come to one that is there.
    return !flow_.pass_on() && flow_.outlet(slot).unsent() == 0;
}

}  // namespace greensup
