# For a tap: after a release put the sdist's sha256 here, then `brew update-python-resources routerd` adds the
# resources, one for each dependency that Homebrew has not itself.
class Routerd < Formula
  include Language::Python::Virtualenv

  desc "Local model router: owns MLX model processes, routes by who asks, says why"
  homepage "https://pypi.org/project/routerd/"
  url "https://files.pythonhosted.org/packages/source/r/routerd/routerd-0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license "MIT"

  depends_on "rust" => :build
  depends_on arch: :arm64
  depends_on "certifi"
  depends_on "libyaml"
  depends_on :macos
  depends_on "mlx"
  depends_on "numpy"
  depends_on "protobuf"
  depends_on "python@3.14"
  depends_on "sentencepiece"

  pypi_packages exclude_packages: %w[certifi mlx numpy]

  def install
    virtualenv_install_with_resources
    generate_completions_from_executable(bin/"routerctl", "completion")
  end

  # `brew services start routerd`, or `routerctl install`: not both. Only the latter has launchd open the socket.
  service do
    run [opt_bin/"routerd", "serve", "--agent"]
    keep_alive successful_exit: false
    process_type :interactive
    environment_variables PATH: std_service_path_env, LANG: "en_US.UTF-8"
    error_log_path var/"log/routerd.err"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/routerctl --version")
    (testpath/"routes.yaml").write <<~YAML
      backends: {a: {openai: {model: m, base_url: "http://127.0.0.1:9/v1"}}}
      default: a
    YAML
    assert_match "no mistakes", shell_output("#{bin}/routerctl check #{testpath}/routes.yaml")
  end
end
