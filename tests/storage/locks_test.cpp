// The image locks against live QEMU programs: qemu-nbd holding an image in each of its ways, and qemu-io and qemu-img
// meeting ours.
#include "storage/locks.hpp"

#include <atomic>
#include <barrier>
#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "storage/descriptor.hpp"
#include "storage/file.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::storage {
namespace {

using tests::Folder;

bool installed(const char* program) {
  for (const char* folder : {"/usr/bin/", "/usr/local/bin/", "/bin/"})
    if (::access((std::string(folder) + program).c_str(), X_OK) == 0) return true;
  return false;
}

// A program of ours, ended with us. Its output goes to `log`.
class Process {
 public:
  Process(std::vector<std::string> arguments, const std::filesystem::path& log) {
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
    ::posix_spawn_file_actions_destroy(&actions);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);  // a qemu-nbd that is just starting loses a SIGTERM
    static_cast<void>(wait());
  }
  // The exit code; -1 when it did not start or a signal ended it.
  int wait() {
    int status = -1;
    if (pid_ <= 0 || ::waitpid(std::exchange(pid_, -1), &status, 0) < 0 || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
  }

 private:
  pid_t pid_ = -1;
};

bool comes_true(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

class Locks : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* program : {"qemu-nbd", "qemu-img", "qemu-io"})
      if (!installed(program)) GTEST_SKIP() << program << " is not installed (Debian: qemu-utils)";
    ASSERT_EQ(run({"qemu-img", "create", "-q", "-f", "qcow2", image_, "1M"}), 0);
  }
  int run(std::vector<std::string> arguments) {
    return Process(std::move(arguments), folder_ / "log").wait();
  }
  std::unique_ptr<Process> serve(std::vector<std::string> options) {
    std::vector<std::string> arguments{"qemu-nbd", "-t", "-k", socket_};
    arguments.insert(arguments.end(), options.begin(), options.end());
    auto server = std::make_unique<Process>(std::move(arguments), folder_ / "nbd");
    EXPECT_TRUE(comes_true([&] { return ::access(socket_.c_str(), F_OK) == 0; })) << "qemu-nbd did not start";
    return server;
  }
  [[nodiscard]] LockState state() const {
    const auto found = image_in_use(image_);
    EXPECT_TRUE(found);
    return found.value_or(LockState{});
  }
  [[nodiscard]] base::Result<void> open_for_writing(bool lock = true) const {
    const auto device = open_file(image_, {.writable = true, .lock = lock});
    if (!device) return std::unexpected(device.error());
    return {};
  }

  Folder folder_;
  std::string image_ = (folder_ / "image.qcow2").string();
  std::string socket_ = (folder_ / "socket").string();
};

TEST_F(Locks, AnImageThatNobodyUsesIsFree) {
  const auto free = state();
  EXPECT_TRUE(free.known);
  EXPECT_EQ(free.held, 0);
  EXPECT_EQ(free.refused, 0);
  EXPECT_FALSE(free.in_use_for_writing());
  EXPECT_TRUE(open_for_writing());
}

TEST_F(Locks, AServerThatWritesIsSeenAndStopsWriting) {
  {
    const auto server = serve({image_});
    EXPECT_TRUE(comes_true([&] { return state().in_use_for_writing(); }));
    const auto used = state();
    EXPECT_TRUE(used.holds(Permission::consistent_read));
    EXPECT_TRUE(used.holds(Permission::write));
    EXPECT_TRUE(used.holds(Permission::resize));
    EXPECT_TRUE(used.refuses(Permission::write));
    EXPECT_TRUE(used.refuses(Permission::resize));
    EXPECT_FALSE(used.free_for_writing());

    const auto refused = open_for_writing();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, base::ErrorKind::in_use);
    EXPECT_NE(refused.error().message.find("stop the virtual machine"), std::string::npos);
    EXPECT_NE(refused.error().message.find("--force-share"), std::string::npos);
    EXPECT_TRUE(open_for_writing(false));
    EXPECT_TRUE(open_file(image_)) << "reading is never refused";
  }
  EXPECT_FALSE(state().in_use_for_writing()) << "the locks go with their holder";
  EXPECT_TRUE(open_for_writing());
}

TEST_F(Locks, AServerThatReadsOnlyStopsWritingButIsNoDangerToReaders) {
  const auto server = serve({"-r", image_});
  EXPECT_TRUE(comes_true([&] { return state().held != 0; }));
  const auto used = state();
  EXPECT_FALSE(used.in_use_for_writing());
  EXPECT_FALSE(used.holds(Permission::write));
  EXPECT_FALSE(used.free_for_writing());
  const auto refused = open_for_writing();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, base::ErrorKind::in_use);
  EXPECT_NE(refused.error().message.find("reading"), std::string::npos);
}

TEST_F(Locks, AReaderThatAllowsEverythingStopsNobody) {
  const auto server =
      serve({"-r", "--image-opts", "driver=qcow2,force-share=on,file.driver=file,file.filename=" + image_});
  EXPECT_TRUE(comes_true([&] { return state().held != 0; }));
  EXPECT_EQ(state().refused, 0);
  EXPECT_TRUE(open_for_writing());
}

TEST_F(Locks, OurWritingStopsQemuAndOurReadingDoesNot) {
  {
    const auto reading = open_file(image_);
    ASSERT_TRUE(reading);
    EXPECT_FALSE(state().in_use_for_writing());
    EXPECT_EQ(state().held, 0) << "reading takes no lock";
    EXPECT_EQ(run({"qemu-io", "-c", "write 0 64k", image_}), 0);
  }
  {
    const auto writing = open_file(image_, {.writable = true});
    ASSERT_TRUE(writing);
    EXPECT_TRUE(state().in_use_for_writing());
    EXPECT_TRUE(state().holds(Permission::write));
    EXPECT_TRUE(state().holds(Permission::resize));
    EXPECT_TRUE(state().refuses(Permission::write));
    EXPECT_NE(run({"qemu-io", "-c", "write 0 64k", image_}), 0);
    EXPECT_NE(run({"qemu-img", "info", image_}), 0);
    EXPECT_EQ(run({"qemu-img", "info", "-U", image_}), 0);
    const auto second = open_for_writing();
    ASSERT_FALSE(second) << "two of us exclude each other as well";
    EXPECT_EQ(second.error().kind, base::ErrorKind::in_use);
  }
  EXPECT_EQ(run({"qemu-io", "-c", "write 0 64k", image_}), 0);
}

TEST_F(Locks, ARefusalLeavesNoLockBehind) {
  const auto server = serve({"-r", image_});
  EXPECT_TRUE(comes_true([&] { return state().held != 0; }));
  struct stat status{};
  const auto file = open_descriptor(image_, Opening::write, status);
  ASSERT_TRUE(file);
  EXPECT_FALSE(lock_for_writing(file->get()));
  const auto seen = state();
  EXPECT_FALSE(seen.holds(Permission::write));
  EXPECT_FALSE(seen.holds(Permission::resize));
  EXPECT_EQ(run({"qemu-img", "info", image_}), 0) << "other readers still come in";
}

TEST(LockForWriting, OfTwoThatComeAtOnceAtMostOneGetsIt) {
  const Folder folder;
  tests::make_file(folder / "image", 4096);
  int granted = 0;
  for (int round = 0; round < 500; ++round) {
    std::barrier start(2);
    std::barrier decided(2);
    std::atomic<int> writers{0};
    const auto come = [&] {
      start.arrive_and_wait();
      const auto device = open_file(folder / "image", {.writable = true});
      writers += device.has_value();
      decided.arrive_and_wait();
    };
    {
      const std::jthread one(come);
      come();
    }
    ASSERT_LE(writers, 1) << "in round " << round;
    granted += writers;
  }
  EXPECT_GT(granted, 0);
}

TEST(ImageInUse, FailsAsOpeningDoes) {
  const Folder folder;
  const auto missing = image_in_use(folder / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, base::ErrorKind::not_found);
}

}  // namespace
}  // namespace cowvet::storage
