// A start at an entry, from both sides. The parent puts one packet into a pair of sockets: a note
// of the size, and beside it the descriptors, of which the first is a sealed file in memory with
// the arguments. So it never waits for the child, however large they are. Then it starts the
// program with the other end of the pair, whose number and the entry's name are its last word.

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <deque>
#include <memory>

#include <green/errors.hpp>
#include <green/hub.hpp>
#include <green/ipc/entry.hpp>
#include <green/ipc/process.hpp>
#include <green/sys.hpp>

#include "frames/descriptors.hpp"
#include "frames/memory_file.hpp"
#include "process/channel.hpp"

namespace green::ipc {
namespace {

constexpr std::string_view flag = "--greensup-entry=";  // NUMBER:NAME
constexpr int could_not_be_called = 2;

constinit AnyEntry* first_entry = nullptr;

/// The last word of the command line, of a process that was started for an entry and did not come
/// to it.
constinit const char* not_come_to = nullptr;
[[gnu::constructor]] void note_command_line(int argc, char** argv, char**) {
    if (argc > 1 && std::string_view{argv[argc - 1]}.starts_with(flag))
        not_come_to = argv[argc - 1];
}

struct Note {
    std::array<char, 8> magic{'g', 'r', 'n', 'e', 'n', 't', 'r', '1'};
    std::uint64_t size = 0;
};

std::string in_words(const char* mangled) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> text{
        abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free};
    const std::string whole = text ? text.get() : mangled;
    return whole.substr(0, 5) == "void " ? whole.substr(5) : whole;  // "void (int)"
}

void check_arguments(const AnyEntry& entry, const std::string& given) {
    if (given == entry.arguments().name()) return;
    throw UsageError("the entry " + entry.name() + " takes " + in_words(entry.arguments().name()) +
                     ", and was given " + in_words(given.c_str()));
}

// --- the parent's side ---

void send_parcel(const Fd& to, const Parcel& parcel) {
    if (parcel.descriptors.size() > FrameStream::most_descriptors)
        throw UsageError("too many descriptors for one child");
    MemoryFile file{parcel.bytes.size()};
    std::memcpy(file.memory(), parcel.bytes.data(), parcel.bytes.size());
    const Fd sealed = std::move(file).seal();
    std::vector<int> numbers{sealed.number()};
    for (const Fd& fd : parcel.descriptors) numbers.push_back(fd.number());
    Note note;
    note.size = parcel.bytes.size();
    sys::must(send_with(to.number(), std::as_bytes(std::span{&note, 1}), numbers),
              "sending a child its arguments");
}

int free_number(const Command& command) {
    int number = 3;
    for (const auto& each : command.descriptors) number = std::max(number, each.theirs + 1);
    return number;
}

// --- the child's side ---

Parcel receive_parcel(int from) {
    Note expected;
    Note note;
    std::deque<Fd> descriptors;
    const sys::Outcome got =
        receive_with(from, std::as_writable_bytes(std::span{&note, 1}), descriptors);
    sys::must(got, "receiving the arguments of an entry");
    if (got.as_size() != sizeof(note) || note.magic != expected.magic || descriptors.empty())
        throw ProtocolError("what stands for the arguments of an entry is something else");
    const Fd file = std::move(descriptors.front());
    descriptors.pop_front();
    const auto words = map_sealed(file, note.size);
    const auto bytes = std::as_bytes(std::span{words.begin(), words.size()}).first(note.size);
    Parcel parcel{{bytes.begin(), bytes.end()}, {}};
    for (Fd& fd : descriptors) parcel.descriptors.push_back(std::move(fd));
    return parcel;
}

int fail(int channel, const std::string& name, int code) noexcept {
    const std::exception_ptr error = std::current_exception();
    passing::tell_failure(channel, error);
    try {
        const std::string text =
            "greensup: " + ErrorReport{"entry " + name, error, {}, nullptr}.text();
        (void)std::fwrite(text.data(), 1, text.size(), stderr);
    } catch (...) {  // no memory for the text
        (void)std::fputs("greensup: an entry failed\n", stderr);
    }
    return code;
}

int run(const Fd& channel, const std::string& name) {
    const AnyEntry* entry = nullptr;
    std::optional<Unpacker> arguments;
    try {
        sys::must(sys::fcntl(channel.number(), F_SETFD, FD_CLOEXEC), "the channel of an entry");
        Unpacker all{receive_parcel(channel.number())};
        entry = &AnyEntry::find(name);
        check_arguments(*entry, all.text());
        arguments.emplace(all.parcel());
    } catch (...) {
        return fail(channel.number(), name, could_not_be_called);
    }
    tell(channel.number(), began_packet);
    try {
        return entry->run(*std::move(arguments));
    } catch (const GreenletExit&) {
        return 0;
    } catch (...) {
        return fail(channel.number(), name, 1);
    }
}

}  // namespace

AnyEntry::AnyEntry(std::string name, const std::type_info& arguments)
    : name_{std::move(name)}, arguments_{&arguments}, next_{std::exchange(first_entry, this)} {}

AnyEntry::~AnyEntry() {
    AnyEntry** place = &first_entry;
    while (*place != this) place = &(*place)->next_;
    *place = next_;
}

const AnyEntry& AnyEntry::find(const std::string& name) {
    const AnyEntry* found = nullptr;
    std::string known;
    for (const AnyEntry* entry = first_entry; entry != nullptr; entry = entry->next_) {
        known += " " + entry->name_;
        if (entry->name_ != name) continue;
        if (found != nullptr) throw UsageError("there is more than one entry " + name);
        found = entry;
    }
    if (found == nullptr) {
        throw UsageError("there is no entry " + name +
                         " in this program, but:" + (known.empty() ? " none" : known));
    }
    return *found;
}

std::optional<int> run_entry(int argc, char** argv) {
    if (argc < 2) return std::nullopt;
    std::string_view word = argv[argc - 1];
    if (!word.starts_with(flag)) return std::nullopt;
    not_come_to = nullptr;
    word.remove_prefix(flag.size());
    int number = -1;
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), number);
    const auto read = static_cast<std::size_t>(parsed.ptr - word.data());
    if (parsed.ec != std::errc{} || number < 3 || !word.substr(read).starts_with(':')) {
        (void)std::fprintf(stderr, "greensup: %s: not from green::ipc::start_process()\n",
                           argv[argc - 1]);
        return could_not_be_called;
    }
    return run(Fd{number}, std::string(word.substr(read + 1)));
}

namespace passing {

Process start_entry(const AnyEntry& entry, const std::type_info& arguments, Packer packer) {
    check_arguments(entry, arguments.name());
    return start_program({.argv = {program_invocation_name}, .program = "/proc/self/exe"},
                         entry.name(), arguments, std::move(packer));
}

Process start_program(const Command& command, std::string_view entry,
                      const std::type_info& arguments, Packer packer) {
    if (not_come_to != nullptr) {
        throw UsageError(std::string("this program was started with ") + not_come_to +
                         ", and its main() has not called green::ipc::run_entry()");
    }
    Packer all;
    all.text(arguments.name());
    all.parcel(std::move(packer).take());
    Channel channel;
    send_parcel(channel.ours, std::move(all).take());
    Command whole = command;
    const int number = free_number(command);
    whole.argv.push_back(std::string(flag) + std::to_string(number) + ":" + std::string(entry));
    whole.descriptors.push_back({channel.childs.number(), number});
    green::Process child = green::Process::start(whole);
    return Process{std::move(child), std::move(channel.ours), true};
}

}  // namespace passing
}  // namespace green::ipc
