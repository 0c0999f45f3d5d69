// The programs at the ends of pipes, for tests: they die in the middle, for ever or so many times,
// and tell what they have written and read.
#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <span>
#include <unistd.h>

#include <green/greenlet.hpp>
#include <green/ipc/control.capnp.h>
#include <green/ipc/inherit.hpp>
#include <green/ipc/message.hpp>

#include "frames/frame_header.hpp"
#include "support/roles.hpp"
#include "support/text_files.hpp"

namespace {

volatile std::sig_atomic_t was_told = 0;

void append(const std::string& path, const std::string& text) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (::write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) ::_exit(70);
    ::close(file);
}

void write_all(std::string_view text) {
    while (!text.empty()) {
        const auto count = ::write(STDOUT_FILENO, text.data(), text.size());
        if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
        if (count < 0 && errno != EINTR) ::_exit(71);
    }
}

/// Which life of a slot this is, counted from 1.
int begin_life(const std::string& path) {
    append(path, ".");
    return static_cast<int>(tests::text_of(path).size());
}

int to_int(const std::string& text) { return std::stoi(text); }

}  // namespace

// FILE NAME LIVES COUNT: in each life it writes COUNT lines "NAME LIFE N", then a part of one, and
// is killed; in the last one it leaves in peace.
GREEN_TEST_ROLE(mortal_writer) {
    const auto life = begin_life(arguments[0]);
    const bool is_last = life >= to_int(arguments[2]);
    for (int i = 0; i < to_int(arguments[3]); ++i)
        write_all(arguments[1] + " " + std::to_string(life) + " " + std::to_string(i) + "\n");
    write_all(is_last ? "the end" : "a torn li");
    if (!is_last) ::raise(SIGKILL);
    return 0;
}

// DIRECTORY: writes lines "PID N" until it is told to leave, and then how many into DIRECTORY/PID.
GREEN_TEST_ROLE(endless_writer) {
    struct sigaction action {};
    action.sa_handler = [](int) { was_told = 1; };
    ::sigaction(SIGTERM, &action, nullptr);
    const auto me = std::to_string(::getpid());
    int count = 0;
    while (was_told == 0) write_all(me + " " + std::to_string(count++) + "\n");
    append(arguments[0] + "/" + me, std::to_string(count) + "\n");
    return 0;
}

// FILE LINES...: appends each line to FILE as soon as it is whole, and "end" at the end. Its N-th
// life ends by SIGKILL in the middle of the line after so many of them.
GREEN_TEST_ROLE(mortal_reader) {
    const auto life = static_cast<std::size_t>(begin_life(arguments[0] + ".lives"));
    int left = life < arguments.size() ? to_int(arguments[life]) : -1;
    std::string line;
    for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1;) {
        if (left == 0) ::raise(SIGKILL);
        line += c;
        if (c != '\n') continue;
        append(arguments[0], line);
        line.clear();
        --left;
    }
    append(arguments[0], line + "end\n");
    return 0;
}

// FILE BYTES: appends each byte to FILE, and is killed after so many of them, for ever.
GREEN_TEST_ROLE(byte_reader) {
    int left = to_int(arguments[1]);
    for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1; --left) {
        append(arguments[0], std::string(1, c));
        if (left == 1) ::raise(SIGKILL);
    }
    append(arguments[0], "<end>");
    return 0;
}

// Reads nothing.
GREEN_TEST_ROLE(deaf_reader) {
    for (;;) ::pause();
}

namespace {

namespace control = green::ipc::control;

/// A hub worker with one pipe, made of the control channel alone.
struct HubWorker {
    green::ipc::FrameStream channel{green::Fd{std::atoi(std::getenv(green::ipc::control_variable))},
                                    green::ipc::control_options};
    green::Fd pipe;
    std::uint64_t largest = 0;

    HubWorker() {
        green::ipc::put<control::FromWorker>(channel, [&](control::FromWorker::Builder message) {
            message.initHello().setProtocol(control::PROTOCOL);
        });
        const auto welcome = green::ipc::next<control::ToWorker>(channel);
        if (!welcome || (*welcome)->getWelcome().getPipes() != 1) ::_exit(72);
        auto message = green::ipc::next<control::ToWorker>(channel);
        if (!message || message->descriptors().size() != 1) ::_exit(73);
        pipe = std::move(message->descriptors()[0]);
        largest = (*message)->getPipe().getLargest();
        green::ipc::put<control::FromWorker>(
            channel, [&](control::FromWorker::Builder word) { word.setReady(); });
    }
    void wait_for_drain() {
        while (auto message = green::ipc::next<control::ToWorker>(channel))
            if ((*message)->isDrain()) return;
    }
};

/// Reads so many bytes and not one more, as a worker that fetches more loses it when it is killed.
bool read_exactly(green::Fd& fd, char* into, std::size_t size) {
    for (std::size_t done = 0; done < size;) {
        const auto got = green::sys::recv(fd.number(), into + done, size - done);
        if (got.would_block()) {
            fd.wait_readable();
            continue;
        }
        if (!got.ok() || got.value == 0) return false;
        done += got.as_size();
    }
    return true;
}

}  // namespace

// DIRECTORY TYPE: puts messages "PID N" of that type until it is to leave, and then how many into
// DIRECTORY/PID.
GREEN_TEST_ROLE(hub_writer) {
    HubWorker worker;
    green::ipc::FrameStream stream{
        std::move(worker.pipe),
        green::ipc::StreamOptions{.limit = worker.largest, .coalesce = false}};
    stream.expect({static_cast<std::uint64_t>(to_int(arguments[1])), "Number"}, {});
    const auto me = std::to_string(::getpid());
    int count = 0;
    bool is_to_leave = false;
    auto puts = green::spawn([&] {
        while (!is_to_leave) {
            const auto text = me + " " + std::to_string(count);
            stream.put(std::as_bytes(std::span{text}));
            ++count;
        }
    });
    worker.wait_for_drain();
    is_to_leave = true;
    puts.join();
    append(arguments[0] + "/" + me, std::to_string(count) + "\n");
    ::_exit(0);
}

// FILE TYPE LINES...: as mortal_reader, with messages of that type; each life expects its hello.
GREEN_TEST_ROLE(hub_reader) {
    HubWorker worker;
    const auto life = static_cast<std::size_t>(begin_life(arguments[0] + ".lives"));
    int left = life + 1 < arguments.size() ? to_int(arguments[life + 1]) : -1;
    bool has_hello = false;
    std::array<char, green::ipc::FrameHeader::size> raw{};
    while (read_exactly(worker.pipe, raw.data(), raw.size())) {
        const auto header = green::ipc::FrameHeader::read(std::as_bytes(std::span{raw}), 4096);
        if (left == 0 && has_hello) ::raise(SIGKILL);  // in the middle of the frame
        std::string payload(header.bytes, ' ');
        if (!read_exactly(worker.pipe, payload.data(), payload.size())) ::_exit(74);
        if (!has_hello) {
            const bool is_hello = header.kind == green::ipc::FrameKind::hello &&
                                  payload[0] == static_cast<char>(to_int(arguments[1]));
            if (!is_hello) ::_exit(75);
            has_hello = true;
            continue;
        }
        append(arguments[0], payload + "\n");
        --left;
    }
    append(arguments[0], "end\n");
    ::_exit(0);
}
