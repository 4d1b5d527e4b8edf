# The first process of a node: gives it mounts of its own and runs it. $1: its number,
# $2: the cluster's folder, $3: the folder of the programs.
dir=$2/node$1
PATH=$3:$PATH
hostname "node$1"
rm -rf "$dir/run" "$dir/loaded"
for folder in run var/lib var/log; do
	mkdir -p "$dir/$folder"
	mount --bind "$dir/$folder" "/$folder"
done
# The kubelet would set these for the whole machine. It finds them as it wants them.
for key in vm.overcommit_memory kernel.panic kernel.panic_on_oops; do
	mount --bind "$dir/$key" "/proc/sys/$(echo $key | tr . /)"
done
containerd --config "$dir/containerd.toml" &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
ctr --namespace k8s.io images import "$2/pause.tar"
# The API server makes its certificate, which the kubelet reads once.
until [ -s "$2/pki/apiserver.crt" ]; do sleep 0.1; done
kubelet --config="$dir/kubelet.yaml" --kubeconfig="$2/inside" --hostname-override="node$1" --node-ip="10.88.0.$1" &
ctr --namespace k8s.io images import "$2/buildkit.tar"
touch "$dir/loaded"
wait
