#include "server.hpp"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string_view>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include "bench.hpp"

namespace bench {
namespace {

int must(int result, const char* call) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), call);
    return result;
}

[[noreturn]] void become(const std::vector<std::string>& command, int core, int output,
                         pid_t parent) {
    try {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(1);  // the parent died before the line above
        pin(core);
        must(::dup2(output, STDOUT_FILENO), "dup2");
        std::vector<char*> words;
        words.reserve(command.size() + 1);
        for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
        words.push_back(nullptr);
        ::execv(words[0], words.data());
        throw std::system_error(errno, std::generic_category(), command[0]);
    } catch (const std::exception& error) {
        (void)std::fprintf(stderr, "server: %s\n", error.what());
    }
    ::_exit(1);
}

// Empty when there is none.
std::string first_line(int input) {
    std::string line;
    char character = 0;
    while (::read(input, &character, 1) == 1) {
        if (character == '\n') return line;
        line += character;
    }
    return {};
}

}  // namespace

Server::Server(const std::vector<std::string>& command, int core) {
    if (command.empty()) throw Unavailable("needs a server: -- COMMAND");
    std::array<int, 2> output{};
    must(::pipe2(output.data(), O_CLOEXEC), "pipe2");
    const pid_t parent = ::getpid();
    process_ = must(::fork(), "fork");
    if (process_ == 0) become(command, core, output[1], parent);
    ::close(output[1]);
    const std::string line = first_line(output[0]);
    ::close(output[0]);
    constexpr std::string_view says_port = "port ";
    if (line.starts_with(says_port)) {
        const auto [end, error] =
            std::from_chars(line.data() + says_port.size(), line.data() + line.size(), port_);
        if (error == std::errc{} && end == line.data() + line.size()) return;
    }
    stop();
    if (line.empty()) throw std::runtime_error("the server ended before it listened");
    throw Unavailable(line);
}

Server::~Server() { stop(); }

void Server::stop() noexcept {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
}

void tell_port(std::uint16_t port) {
    std::printf("port %u\n", unsigned{port});
    (void)std::fflush(stdout);
}

int listen_and_tell() {
    const int listener =
        must(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    const int on = 1;
    must(::setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    must(::bind(listener, any, size), "bind");
    must(::listen(listener, 4096), "listen");
    must(::getsockname(listener, any, &size), "getsockname");
    tell_port(ntohs(address.sin_port));
    return listener;
}

}  // namespace bench
