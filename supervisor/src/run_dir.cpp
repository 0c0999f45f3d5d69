#include "run_dir.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sys/file.h>
#include <unistd.h>

#include <green/sys.hpp>

#include "refusal.hpp"

namespace greensup {
namespace {

namespace sys = green::sys;

[[noreturn]] void refuse(const std::string& what, int error) {
    throw Refusal(Code::files, what + ": " + std::strerror(error),
                  "set run_dir in [supervisor] to a directory that you may write to");
}

struct stat look_at(const std::string& path) {
    const auto opened = sys::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!opened.ok()) refuse("cannot open run directory " + path, opened.error);
    const green::Fd fd{opened.as_int()};
    struct stat file {};
    const auto looked = sys::fstat(fd.number(), file);
    if (!looked.ok()) refuse("cannot look at run directory " + path, looked.error);
    return file;
}

/// Somebody else's directory, or one in which somebody else could swap ours for his, is none: who
/// controls it controls the programs that we start.
void check_owner(const std::string& path) {
    const auto own = look_at(path);
    if (own.st_uid != ::geteuid())
        throw Refusal(Code::files,
                      "run directory " + path + " belongs to user " + std::to_string(own.st_uid),
                      "remove it, or set run_dir in [supervisor]");
    const auto parent = std::filesystem::path(path).parent_path();
    struct stat above {};
    if (::stat(parent.c_str(), &above) != 0) refuse("cannot look at " + parent.string(), errno);
    const bool is_trusted = above.st_uid == ::geteuid() || above.st_uid == 0;
    const bool is_open =
        (above.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (above.st_mode & S_ISVTX) == 0;
    if (!is_trusted || is_open)
        throw Refusal(Code::files,
                      "run directory " + path + ": others may rename what is in " + parent.string(),
                      "set run_dir in [supervisor] to a place where only you can write");
}

void make_directory(const std::string& path, mode_t mode) {
    const auto made = sys::mkdir(path.c_str(), mode);
    if (!made.ok() && made.error != EEXIST)
        refuse("cannot create run directory " + path, made.error);
}

void make_all(const std::string& path, mode_t mode) {
    for (auto at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
        make_directory(path.substr(0, at), 0755);
    make_directory(path, mode);
    std::error_code error;
    std::filesystem::permissions(path, static_cast<std::filesystem::perms>(mode), error);
    if (error) refuse("cannot set the permissions of " + path, error.value());
}

std::string holder_of(int lock) {
    std::array<char, 32> text{};
    const auto got = sys::pread(lock, text.data(), text.size() - 1, 0);
    std::string pid(text.data(), got.ok() ? got.as_size() : 0);
    while (!pid.empty() && pid.back() == '\n') pid.pop_back();
    return pid.empty() ? "unknown" : pid;
}

}  // namespace

RunDir::RunDir(const std::string& directory, int control_mode) : paths_{directory} {
    // Whoever may use the socket has to get to it.
    mode_t mode = 0700;
    if ((control_mode & 0070) != 0) mode |= 0010;
    if ((control_mode & 0007) != 0) mode |= 0001;
    make_all(directory, mode);
    check_owner(directory);
    make_directory(paths_.queues(), 0700);

    const auto opened = sys::open(paths_.lock().c_str(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (!opened.ok()) refuse("cannot open " + paths_.lock(), opened.error);
    lock_ = green::Fd{opened.as_int()};
    const auto locked = sys::flock(lock_.number(), LOCK_EX);
    if (locked.would_block()) {
        const auto pid = holder_of(lock_.number());
        throw Refusal(Code::locked, "another supervisor runs in " + directory + ", with pid " + pid,
                      "stop it with: greensup shutdown --run-dir " + directory);
    }
    if (!locked.ok()) refuse("cannot lock " + paths_.lock(), locked.error);
    const auto pid = std::to_string(::getpid()) + "\n";
    (void)sys::ftruncate(lock_.number(), 0);
    // Only for the message that a second start shows; the lock itself is what counts.
    (void)sys::pwrite(lock_.number(), pid.data(), pid.size(), 0);
}

RunDir::~RunDir() { (void)sys::ftruncate(lock_.number(), 0); }

}  // namespace greensup
