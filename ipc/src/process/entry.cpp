// A start at an entry, from both sides. The child inherits the descriptors, those among the
// arguments and that of a sealed file in memory, which holds the rest. A note in a pair of sockets
// says which. So the parent never waits for the child, however large the arguments are, and nothing
// is on its way, which the system would have a limit for. The child's end of the pair is inherited
// as well; its number and the entry's name are the last word of the command line.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <memory>
#include <set>
#include <unistd.h>

#include <green/errors.hpp>
#include <green/hub.hpp>
#include <green/ipc/entry.hpp>
#include <green/ipc/process.hpp>
#include <green/sys.hpp>

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
    std::array<char, 8> magic{'g', 'r', 'n', 'e', 'n', 't', 'r', '2'};
    std::uint64_t size = 0;         // of the parcel's bytes, the first in the file
    std::uint64_t descriptors = 0;  // how many; behind the bytes are their numbers
    std::int64_t file = 0;
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

/// Gives the child these of ours. It has each by our number, so that the start itself needs no more
/// of them, unless something else is to be there: then by the lowest that nobody has a use for.
/// Above the highest there may be none. Returns by which.
std::vector<int> hand_down(Command& command, const std::vector<int>& ours) {
    std::set<int> taken{STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    std::set<int> moving{ours.begin(), ours.end()};  // these the start would have to make way for
    for (const auto& each : command.descriptors) {
        taken.insert(each.theirs);
        moving.insert(each.ours);
    }
    std::vector<int> theirs;
    theirs.reserve(ours.size());
    for (const int number : ours) theirs.push_back(taken.insert(number).second ? number : -1);
    int next = STDERR_FILENO + 1;
    for (int& number : theirs) {
        if (number >= 0) continue;
        while (taken.contains(next) || moving.contains(next)) ++next;
        number = next++;
    }
    for (std::size_t i = 0; i < ours.size(); ++i)
        command.descriptors.push_back({ours[i], theirs[i]});
    return theirs;
}

Fd file_of(std::span<const std::byte> bytes, std::span<const int> numbers) {
    const auto behind = std::as_bytes(numbers);
    MemoryFile file{bytes.size() + behind.size()};
    std::copy(behind.begin(), behind.end(), std::copy(bytes.begin(), bytes.end(), file.memory()));
    return std::move(file).seal();
}

// --- the child's side ---

Fd inherited(std::int64_t number) {
    const auto fd = static_cast<int>(number);
    sys::must(sys::fcntl(fd, F_SETFD, FD_CLOEXEC), "an inherited descriptor of an entry");
    return Fd{fd};
}

Parcel receive_parcel(int from) {
    const Note expected;
    Note note;
    const sys::Outcome got = sys::recv(from, &note, sizeof note);
    sys::must(got, "receiving the arguments of an entry");
    if (got.as_size() != sizeof note || note.magic != expected.magic)
        throw ProtocolError("what stands for the arguments of an entry is something else");
    const Fd file = inherited(note.file);
    std::vector<int> numbers(note.descriptors);
    const std::size_t behind = std::as_bytes(std::span{numbers}).size();
    const auto words = map_sealed(file, note.size + behind);
    const auto all = std::as_bytes(std::span{words.begin(), words.size()});
    const auto bytes = all.first(note.size);
    if (behind > 0) std::memcpy(numbers.data(), all.data() + note.size, behind);
    Parcel parcel{{bytes.begin(), bytes.end()}, {}};
    for (const int number : numbers) parcel.descriptors.push_back(inherited(number));
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
    const Parcel parcel = std::move(all).take();
    Command whole = command;
    Channel channel;
    const std::vector<int> theirs = hand_down(whole, numbers_of(channel, parcel));
    const auto of_parcel = std::span{theirs}.subspan(1);
    const Fd file = file_of(parcel.bytes, of_parcel);
    Note note;
    note.size = parcel.bytes.size();
    note.descriptors = of_parcel.size();
    note.file = hand_down(whole, {file.number()}).front();
    sys::must(sys::send(channel.ours.number(), &note, sizeof note),
              "sending a child the note of its arguments");
    whole.argv.push_back(std::string(flag) + std::to_string(theirs.front()) + ":" +
                         std::string(entry));
    green::Process child = green::Process::start(whole);
    return Process{std::move(child), std::move(channel.ours), true};
}

}  // namespace passing
}  // namespace green::ipc
