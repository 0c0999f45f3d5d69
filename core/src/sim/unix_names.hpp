#pragma once

#include <cstddef>
#include <cstring>
#include <map>
#include <string>
#include <sys/un.h>

#include <green/endpoint.hpp>

namespace green::sim {

class UnixSocket;

/// The names of Unix sockets in a simulation: files of its own, of which the real file system knows
/// nothing, and abstract names. A file stays when its socket is gone, until it is unlinked.
class UnixNames {
 public:
    /// False when the name is in use.
    [[nodiscard]] bool hold(UnixSocket& socket, const Endpoint& name) {
        return names_.emplace(key(name), &socket).second;
    }
    void let_go(const UnixSocket& socket, const Endpoint& name) {
        const auto found = names_.find(key(name));
        if (found == names_.end() || found->second != &socket) return;  // unlinked before
        if (name.path().empty()) {
            names_.erase(found);
        } else {
            found->second = nullptr;
        }
    }
    [[nodiscard]] bool has(const Endpoint& name) const { return names_.contains(key(name)); }
    [[nodiscard]] UnixSocket* find(const Endpoint& name) const {
        const auto found = names_.find(key(name));
        return found == names_.end() ? nullptr : found->second;
    }
    [[nodiscard]] bool has_file(const char* path) const { return names_.contains(path); }
    bool remove_file(const char* path) { return names_.erase(path) != 0; }

 private:
    /// The path; of an abstract name all bytes, the zero at their front too: as a text it could be
    /// that of a file.
    [[nodiscard]] static std::string key(const Endpoint& name) {
        if (std::string path = name.path(); !path.empty()) return path;
        sockaddr_un address{};
        std::memcpy(&address, name.address(), name.size());
        return {address.sun_path, name.size() - offsetof(sockaddr_un, sun_path)};
    }

    std::map<std::string, UnixSocket*> names_;  // nullptr: the file of one that is gone
};

}  // namespace green::sim
